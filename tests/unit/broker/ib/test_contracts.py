"""Every text form means one contract, asked for once; what means none or several is said in one sentence."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ContractError, RequestRefusedError
from broker.ib.contracts import ContractBook, parse_contract
from broker.ib.messages import Contract, ContractDetails
from broker.simulator.instruments import instrument


@pytest.mark.parametrize(
    ("text", "contract"),
    [
        ("SPY", Contract("SPY")),
        ("BRK B", Contract("BRK B")),
        ("BF/B", Contract("BF/B")),
        ("EUR.USD", Contract("EUR", "CASH", "IDEALPRO", "USD")),
        ("USD.JPY", Contract("USD", "CASH", "IDEALPRO", "JPY")),
        ("BRK.B", Contract("BRK.B")),
        ("VIX@CBOE", Contract("VIX", "IND", "CBOE")),
        ("NDX@NASDAQ", Contract("NDX", "IND", "NASDAQ")),
        ("ES@CME", Contract("ES", "CONTFUT", "CME")),
        ("CL@NYMEX", Contract("CL", "CONTFUT", "NYMEX")),
    ],
)
def test_the_form_of_a_symbol_says_what_it_is(text, contract):
    assert parse_contract(text) == contract


@pytest.mark.parametrize("text", ["", " SPY", "SPY ", "A@", "@CME", "A\nB"])
def test_what_has_no_form_is_refused_with_its_text(text):
    with pytest.raises(ContractError, match=r"^symbol: "):
        parse_contract(text)


@given(st.text(st.sampled_from("ABEURSDJPY.@/ "), min_size=1, max_size=9))
def test_the_simulator_understands_a_symbol_as_the_parser_does(text):
    try:
        named = parse_contract(text)
    except ContractError:
        with pytest.raises(ContractError):
            instrument(text, 1)
    else:
        made = instrument(text, 1)
        assert (made.symbol, made.sec_type, made.exchange, made.currency) == (
            named.symbol, named.sec_type, named.exchange, named.currency,
        )  # fmt: skip


def details(con_id, symbol="SPY", exchange="ARCA", sec_type="STK", **fields):
    contract = Contract(symbol, sec_type, primary_exchange=exchange, con_id=con_id, local_symbol=symbol, **fields)
    return ContractDetails(
        contract, f"{symbol} LTD", Decimal("0.01"), Decimal(1), (26,), ("SMART",), frozenset({"MKT"}), "US/Eastern",
        "", "",
    )  # fmt: skip


class Gateway:
    """Answers questions about contracts from a table; anything else is unknown to it (200)."""

    def __init__(self, account="DU1", **known):
        self.account, self.known, self.asked = account, known, []

    def contract_details(self, contract, seconds=15.0):
        self.asked.append(contract.symbol)
        if contract.symbol not in self.known:
            raise RequestRefusedError(200, "No security definition has been found for the request")
        return self.known[contract.symbol]


def test_a_contract_is_asked_for_once():
    gateway = Gateway(SPY=(details(756733),))
    book = ContractBook(gateway)
    assert [book.resolve("SPY").con_id, book.resolve("SPY").con_id] == [756733] * 2
    assert gateway.asked == ["SPY"]


def test_a_contract_is_known_in_the_next_run(tmp_path):
    path = tmp_path / "ib" / "contracts.json"
    first = ContractBook(Gateway(SPY=(details(756733),)), path).resolve("SPY")
    silent = Gateway()
    assert ContractBook(silent, path).resolve("SPY") == first
    assert silent.asked == []


def test_another_accounts_numbers_are_not_used(tmp_path):
    """A simulated gateway has numbers of its own."""
    path = tmp_path / "contracts.json"
    ContractBook(Gateway("DU1234567", SPY=(details(1),)), path).resolve("SPY")
    assert ContractBook(Gateway("U7", SPY=(details(756733),)), path).resolve("SPY").con_id == 756733
    assert ContractBook(Gateway("DU1234567"), path).resolve("SPY").con_id == 1


def test_a_continuous_future_is_asked_for_in_every_run(tmp_path):
    path = tmp_path / "contracts.json"
    gateway = Gateway(ES=(details(11, "ES", "CME", "FUT", expiry="20240315"),))
    found = ContractBook(gateway, path).resolve("ES@CME")
    assert (found.con_id, found.sec_type, found.exchange, found.expiry) == (11, "CONTFUT", "CME", "")
    gateway.known["ES"] = (details(12, "ES", "CME", "FUT", expiry="20240621"),)
    assert ContractBook(gateway, path).resolve("ES@CME").con_id == 12


def test_a_number_that_the_gateway_no_longer_knows_is_asked_for_again(tmp_path):
    gateway, path = Gateway(SPY=(details(1),)), tmp_path / "contracts.json"
    book = ContractBook(gateway, path)
    book.resolve("SPY")
    gateway.known["SPY"] = (details(2),)
    book.forget("SPY")
    assert (book.resolve("SPY").con_id, ContractBook(Gateway(), path).resolve("SPY").con_id) == (2, 2)


@pytest.mark.parametrize(
    ("symbol", "sentence"),
    [
        ("NONE", "symbol: 'NONE' is not known at Interactive Brokers as a US stock or ETF."),
        ("BRK.B", "symbol: 'BRK.B' is not known at Interactive Brokers as a US stock or ETF."
                  " IB writes share classes with a blank: 'BRK B'."),
        ("spy", "symbol: 'spy' is not known at Interactive Brokers as a US stock or ETF. Did you mean 'SPY'?"),
        ("XX@CME", "symbol: 'XX@CME' is not known at Interactive Brokers as a future at CME."),
    ],
)  # fmt: skip
def test_an_unknown_symbol_is_said_in_one_sentence(symbol, sentence):
    with pytest.raises(ContractError) as caught:
        ContractBook(Gateway()).resolve(symbol)
    assert str(caught.value) == sentence


def test_an_ambiguous_symbol_is_said_with_its_choices():
    gateway = Gateway(ABC=(details(1, "ABC", "NYSE"), details(2, "ABC", "TSE", currency="CAD")))
    with pytest.raises(ContractError) as caught:
        ContractBook(gateway).resolve("ABC")
    assert str(caught.value) == "symbol: 'ABC' can be ABC LTD at NYSE in USD (1), ABC LTD at TSE in CAD (2)."


def test_the_same_contract_told_twice_is_one():
    assert ContractBook(Gateway(SPY=(details(1), details(1)))).resolve("SPY").con_id == 1


def test_another_refusal_is_not_taken_for_an_unknown_symbol():
    class Broken(Gateway):
        def contract_details(self, contract, seconds=15.0):
            raise RequestRefusedError(504, "Not connected")

    with pytest.raises(RequestRefusedError, match="504"):
        ContractBook(Broken()).resolve("SPY")


@pytest.mark.parametrize("text", ["{", "[]", '{"accounts": {"DU1": {"SPY": {"colour": 1}}}}'])
def test_a_damaged_file_is_named(tmp_path, text):
    path = tmp_path / "contracts.json"
    path.write_text(text)
    with pytest.raises(ContractError, match=r"contracts\.json: not a list of contracts; delete it"):
        ContractBook(Gateway(), path).resolve("SPY")


def test_the_file_is_plain_json(tmp_path):
    path = tmp_path / "contracts.json"
    ContractBook(Gateway(SPY=(details(756733),)), path).resolve("SPY")
    assert json.loads(path.read_text())["accounts"]["DU1"]["SPY"]["con_id"] == 756733
