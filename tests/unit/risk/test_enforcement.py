"""What REDUCE_ONLY and FLATTEN ask of a broker."""

from datetime import UTC, datetime

import pytest

from risk.decision import Holding, Portfolio, WorkingOrder
from risk.enforcement import closing_orders, must_cancel
from risk.states import HaltState

NOW = datetime(2024, 3, 6, 15, 0, tzinfo=UTC)
HELD = {"AAPL": Holding(100, 50.0), "MSFT": Holding(-40, 400.0), "IBM": Holding(0, 190.0)}

ENTRY = WorkingOrder("GOOG", 5, 100.0, reduces_only=False)
ADDS = WorkingOrder("AAPL", 5, 50.0, reduces_only=False)
EXIT = WorkingOrder("AAPL", -100, 50.0, reduces_only=False)
COVER = WorkingOrder("MSFT", 40, 400.0, reduces_only=False)
REVERSAL = WorkingOrder("AAPL", -101, 50.0, reduces_only=False)
PROTECTS = WorkingOrder("GOOG", -5, 90.0, reduces_only=True)


@pytest.mark.parametrize(
    ("halt", "cancelled"),
    [
        (HaltState.ACTIVE, []),
        (HaltState.HALT_ENTRIES, []),
        (HaltState.REDUCE_ONLY, [ENTRY, ADDS, REVERSAL]),
        (HaltState.FLATTEN, [ENTRY, ADDS, EXIT, COVER, REVERSAL, PROTECTS]),
    ],
)
def test_each_state_cancels_what_it_forbids(halt, cancelled):
    orders = [ENTRY, ADDS, EXIT, COVER, REVERSAL, PROTECTS]

    assert [order for order in orders if must_cancel(order, HELD, halt)] == cancelled


def test_flattening_closes_every_position_and_nothing_else():
    orders = closing_orders(Portfolio(0.0, 1.0, HELD), NOW)

    assert [(order.symbol, order.quantity, order.kind, order.reduces_only, order.ts) for order in orders] == [
        ("AAPL", -100, "market", True, NOW),
        ("MSFT", 40, "market", True, NOW),
    ]
