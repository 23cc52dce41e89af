"""The report of a session, from a ledger written by hand."""

from decimal import Decimal

import pytest

from broker.deployment.report import session_report
from tests.unit.warehouse.ledger.samples import SCOPE, at, filled, intent
from warehouse.ledger.records import EquitySnapshot
from warehouse.ledger.store import Ledger

D = Decimal


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite") as opened:
        yield opened


def market(ref, side, decided):
    return intent(ref, side=side, order_type="MKT", limit_price=None, decision_price=decided)


def reported(ledger):
    return session_report(ledger, SCOPE.deployment, SCOPE.session)


def test_a_worse_price_than_the_one_decided_on_is_a_cost_whichever_side_it_is(ledger):
    ledger.commit_intent(SCOPE, market("buy", "BUY", D("100.00")), market("sell", "SELL", D("110.00")))
    ledger.append(
        SCOPE,
        filled("e1", order_ref="buy", quantity=D(10), price=D("100.05")),
        filled("e2", order_ref="sell", side="SELL", quantity=D(10), price=D("109.98"), executed=at(60)),
    )
    report = reported(ledger)
    assert [one.money for one in report.slipped] == [D("0.50"), D("0.20")]
    assert (report.slippage.money, report.slippage.basis_points) == (D("0.70"), D("3.33"))  # of 2,100.00
    assert "slippage +0.70 (+3.3 bp)" in report.sentence


def test_a_better_price_is_below_zero(ledger):
    ledger.commit_intent(SCOPE, market("buy", "BUY", D("100.00")))
    ledger.append(SCOPE, filled(order_ref="buy", quantity=D(4), price=D("99.75")))
    assert (reported(ledger).slippage.money, reported(ledger).slippage.basis_points) == (D("-1.00"), D("-25.00"))


@pytest.mark.parametrize(
    ("kind", "prices"),
    [("STP", {"stop_price": D(95), "limit_price": None}), ("LMT", {"limit_price": D(95)}),
     ("STP LMT", {"stop_price": D(95), "limit_price": D(94)})],
)  # fmt: skip
def test_an_order_that_waits_for_a_price_was_decided_at_that_price(ledger, kind, prices):
    ledger.commit_intent(SCOPE, intent("out", side="SELL", order_type=kind, decision_price=D(100), **prices))
    ledger.append(SCOPE, filled(order_ref="out", side="SELL", quantity=D(2), price=D("94.90")))
    assert reported(ledger).slippage.money == D("0.20")


def test_each_symbol_has_its_own_sum(ledger):
    ledger.commit_intent(SCOPE, market("a", "BUY", D(100)), market("m", "BUY", D(200)))
    ledger.append(
        SCOPE,
        filled("e1", order_ref="a", quantity=D(1), price=D(101)),
        filled("e2", order_ref="m", symbol="MSFT", con_id=272093, quantity=D(1), price=D(198)),
    )
    report = reported(ledger)
    assert {one.symbol: one.slippage.money for one in report.traded} == {"AAPL": D(1), "MSFT": D(-2)}
    assert report.slippage.money == D(-1)


def test_a_fill_without_a_price_that_was_decided_on_is_counted_and_not_invented(ledger):
    ledger.commit_intent(SCOPE, market("old", "BUY", None))
    ledger.append(SCOPE, filled("e1", order_ref="old"), filled("e2", order_ref="by hand", external=True))
    report = reported(ledger)
    assert (report.slippage.money, report.slippage.basis_points, report.slippage.unknown) == (None, None, 2)
    assert "unknown slippage" in report.sentence


def test_profit_is_between_the_first_and_the_last_equity(ledger):
    ledger.append(
        SCOPE, EquitySnapshot(at(0), "USD", D("1000.00")), EquitySnapshot(at(60), "USD", D("990.00")),
        EquitySnapshot(at(120), "USD", D("1002.50")),
    )  # fmt: skip
    report = reported(ledger)
    assert report.profit == D("2.50")
    assert [ts for ts, _ in report.equity] == [at(0), at(60), at(120)]


def test_a_session_without_equity_has_no_profit(ledger):
    assert reported(ledger).profit is None
