"""The account's equations, after any stream of bookings."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from broker.simulator.ledger import ZERO, Ledger, MarginRules, Position

CASH = Decimal(1_000_000)
QUANTITY = st.decimals("-500", "500", places=4).filter(bool)
PRICE = st.decimals("0.01", "900", places=8)
FEE = st.decimals("0", "20", places=6)
BOOKINGS = st.lists(st.tuples(st.sampled_from("AB"), QUANTITY, PRICE, FEE), max_size=40)


def test_a_round_trip():
    ledger = Ledger(CASH, CASH)
    assert ledger.book("A", Decimal(100), Decimal(10), Decimal(1)) is None
    assert ledger.positions["A"].average == Decimal("10.01")
    assert ledger.book("A", Decimal(-40), Decimal(12), Decimal("0.5")) == Decimal("79.1")  # 480 - 0.50 - 40 x 10.01
    assert ledger.book("A", Decimal(-60), Decimal(9), Decimal("0.5")) == Decimal("-61.1")
    assert ledger.positions["A"] == Position(ZERO, ZERO, Decimal(18))
    assert ledger.cash == CASH + 18


def test_turning_around_closes_and_opens():
    ledger = Ledger(CASH, CASH)
    ledger.book("A", Decimal(10), Decimal(100), ZERO)
    assert ledger.book("A", Decimal(-30), Decimal(110), Decimal(3)) == Decimal(99)  # a third of the fee closes
    assert ledger.positions["A"].quantity == -20
    assert ledger.positions["A"].cost == Decimal(-2198)  # short proceeds less the rest of the fee


@given(BOOKINGS, PRICE, PRICE)
def test_cash_positions_and_profits_add_up_exactly(bookings, a, b):
    ledger, spent = Ledger(CASH, CASH), ZERO
    for key, quantity, price, fee in bookings:
        ledger.book(key, quantity, price, fee)
        spent += quantity * price + fee
    figures = ledger.figures({"A": a, "B": b})
    value = ledger.quantity("A") * a + ledger.quantity("B") * b

    assert ledger.cash == CASH - spent
    assert figures.net_liquidation == ledger.cash + value
    assert figures.net_liquidation == CASH + figures.realised + figures.unrealised
    assert figures.available == figures.net_liquidation - figures.initial_margin
    assert ledger.fees == sum((fee for *_, fee in bookings), ZERO)


@given(BOOKINGS, st.lists(st.tuples(st.sampled_from("AB"), QUANTITY, PRICE), max_size=5), PRICE, PRICE)
def test_transfers_and_interest_are_no_profit(bookings, transfers, a, b):
    ledger = Ledger(CASH, CASH)
    for key, quantity, price, fee in bookings:
        ledger.book(key, quantity, price, fee)
    for key, quantity, price in transfers:
        ledger.transfer(key, quantity, price)
    ledger.accrue(Decimal("-12.34"))
    figures = ledger.figures({"A": a, "B": b})

    known = CASH + ledger.interest + ledger.transferred
    assert figures.net_liquidation == known + figures.realised + figures.unrealised


def test_buying_power_is_what_margin_allows():
    figures = Ledger(CASH, CASH).figures({})
    assert figures.buying_power == 2 * CASH
    cash_account = Ledger(CASH, CASH, MarginRules(margin_account=False)).figures({})
    assert cash_account.buying_power == CASH
