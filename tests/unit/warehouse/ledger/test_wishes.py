"""What switches and commands add up to."""

import pytest

from tests.unit.warehouse.ledger.samples import command, switched
from warehouse.ledger.records import DesiredState
from warehouse.ledger.wishes import desired


@pytest.mark.parametrize(
    ("wishes", "halt", "stop", "may_run"),
    [
        ([], "ACTIVE", None, False),
        (["on"], "ACTIVE", None, True),
        (["on", "off"], "ACTIVE", None, False),
        (["on", "halt"], "HALT_ENTRIES", None, True),
        (["on", "reduce_only"], "REDUCE_ONLY", None, True),
        (["on", "reduce_only", "resume"], "ACTIVE", None, True),
        (["on", "stop_keep"], "ACTIVE", "keep", False),
        (["on", "stop_flatten"], "ACTIVE", "flatten", False),
        (["on", "stop_keep", "resume"], "ACTIVE", None, True),
        (["on", "emergency"], "FLATTEN", "flatten", False),
        (["on", "emergency", "off"], "FLATTEN", "flatten", False),
        (["on", "emergency", "on"], "FLATTEN", None, True),
        (["on", "emergency", "on", "resume"], "ACTIVE", None, True),
        (["halt", "on"], "HALT_ENTRIES", None, True),
        (["on", "halt", "stop_keep", "on"], "HALT_ENTRIES", None, True),
    ],
)
def test_the_wishes_add_up(wishes, halt, stop, may_run):
    records = [switched(wish == "on") if wish in {"on", "off"} else command(wish) for wish in wishes]
    state = desired(records)
    assert (state.halt, state.stop, state.may_run) == (halt, stop, may_run)


def test_the_reason_is_that_of_the_last_command():
    wishes = [switched(), command("halt", reason="news"), command("stop_keep", reason="weekend"), switched(False)]
    assert desired(wishes) == DesiredState(False, "HALT_ENTRIES", "keep", "weekend")
