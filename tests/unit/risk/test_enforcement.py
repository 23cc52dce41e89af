"""Which working orders a halt state cancels."""

import pytest

from risk.enforcement import must_cancel
from risk.states import HaltState

ENTRY = {"held": 10, "remaining": 5, "protective": False}
EXIT = {"held": 10, "remaining": -10, "protective": False}
REVERSAL = {"held": 10, "remaining": -15, "protective": False}
STOP = {"held": 10, "remaining": -15, "protective": True}


@pytest.mark.parametrize(
    ("halt", "cancelled"),
    [
        (HaltState.ACTIVE, []),
        (HaltState.HALT_ENTRIES, []),
        (HaltState.REDUCE_ONLY, [ENTRY, REVERSAL]),
        (HaltState.FLATTEN, [ENTRY, EXIT, REVERSAL, STOP]),
    ],
)
def test_a_halt_cancels_what_it_forbids(halt, cancelled):
    assert [order for order in (ENTRY, EXIT, REVERSAL, STOP) if must_cancel(halt, **order)] == cancelled
