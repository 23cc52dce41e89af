"""What holds an order back before risk is asked."""

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest

from broker.ib.messages import SessionState, StateChange
from broker.live.gates import Gates
from broker.live.traded import Traded
from broker.orders.book import OrderBook
from tests.unit.broker.live_market import ScriptedGateway
from tests.unit.broker.orders.telling import held, snapshot

NOW = datetime(2024, 1, 8, 15, tzinfo=UTC)


class Desk:
    """Gates of an account that holds ten shares, with an order before them."""

    def __init__(self, *, market_open=None):
        self.gateway = ScriptedGateway({}, 0)
        self.book = OrderBook("DU1", 1)
        self.book.apply(snapshot(positions=[held(10)]), NOW)
        self.con_id = next(iter(self.book.positions()))
        data = SimpleNamespace(_name="AAPL", is_live=lambda: True, halted=False)
        instrument = SimpleNamespace(con_id=self.con_id)
        traded = Traded({"AAPL": instrument}, lambda: [data])
        self.gates = Gates(
            self.gateway, self.book, traded, clock=lambda: NOW, market_time=lambda: NOW, market_open=market_open
        )
        self.data = data

    def gate(self, *, sign=1, quantity=5, capped=False, by_guard=False):
        order = SimpleNamespace(data=self.data, info={})
        live = SimpleNamespace(
            order=order, by_guard=by_guard, capped=capped, con_id=self.con_id, sign=sign, quantity=Decimal(quantity)
        )
        shut = self.gates.shut(live)
        return None if shut is None else shut.gate


def test_an_account_whose_state_is_not_known_since_the_connection_was_lost_refuses_all():
    desk = Desk()
    assert desk.gate() is None
    desk.book.apply(StateChange(NOW, SessionState.DISCONNECTED, "gone", False), NOW)
    assert (desk.gate(sign=-1), desk.gate(by_guard=True)) == ("account_state", "account_state")


@pytest.mark.parametrize(
    ("order", "gate"),
    [
        ({"sign": 1}, "market_closed"),
        ({"sign": -1, "quantity": 10}, None),
        ({"sign": -1, "quantity": 11}, "market_closed"),
        ({"sign": 1, "capped": True}, None),
    ],
)
def test_a_closed_exchange_holds_back_what_opens_or_adds_to_a_position(order, gate):
    assert Desk(market_open=lambda _: False).gate(**order) == gate


def test_bars_that_are_not_trusted_hold_entries_of_their_symbol_back():
    desk = Desk()
    desk.gates.distrust("MSFT", "MSFT: bad.")
    assert desk.gate() is None
    desk.gates.distrust("AAPL", "AAPL: bad.")
    assert (desk.gate(), desk.gate(sign=-1)) == ("quality", None)


def test_the_guard_closes_a_position_although_the_data_are_not_live():
    desk = Desk()
    desk.data.is_live = lambda: False
    assert (desk.gate(sign=-1), desk.gate(sign=-1, by_guard=True)) == ("data", None)
