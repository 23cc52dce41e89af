"""Where the ledger, as it is on disk, says otherwise than the broker."""

import pytest

from broker.deployment.reconciliation import differences
from broker.deployment.records import intent_of, record_of
from broker.orders.changes import OrderIntended
from tests.unit.broker.orders.telling import (
    ACCOUNT,
    CLIENT,
    Desk,
    at,
    execution,
    held,
    limit,
    open_order,
    snapshot,
    status,
    ticket,
)
from warehouse.ledger.records import Scope
from warehouse.ledger.store import Ledger

BOUGHT, RESTING = ticket("bought", 1), limit("resting", 2)
FILL = execution(BOUGHT, 1, 10)


@pytest.fixture
def ledger(tmp_path):
    """The ledger of a book with ten shares bought and an order that works."""
    desk = Desk()
    desk.working(BOUGHT)
    desk.hear(FILL, status(BOUGHT, "Filled", 10))
    desk.working(RESTING)
    with Ledger.open(tmp_path / "ledger.sqlite") as opened:
        for change in desk.told:
            if isinstance(change, OrderIntended):
                opened.commit_intent(Scope("one", ACCOUNT), intent_of(change, at(), None))
            elif (record := record_of(change)) is not None:
                opened.append(Scope("one", ACCOUNT), record)
        yield opened


def told(**changes):
    """What the broker answers where it agrees, but for some changes."""
    return snapshot(**{"positions": [held(10)], "open_orders": [open_order(RESTING)], "executions": [FILL], **changes})


@pytest.mark.parametrize(
    ("answer", "sentences"),
    [
        (told(), ()),
        (told(executions=[]), ()),  # a broker tells those of today only
        (told(positions=[held(7)]), ("AAPL: the broker holds 7 shares, the ledger 10",)),
        (told(positions=[]), ("contract 265598: the broker holds 0 shares, the ledger 10",)),
        (
            told(executions=[FILL, execution(RESTING, 2, 1)]),
            ("AAPL: execution 0000e0d5.2.01.01 of 1 shares is not in the ledger",),
        ),
        (
            told(executions=[execution(BOUGHT, 1, 10, price="51", revision=2)]),
            ("AAPL: execution 0000e0d5.1.01.02 of 10 shares is not in the ledger",),
        ),
        (told(open_orders=[]), ("AAPL: order resting is open in the ledger, not at the broker",)),
        (
            told(open_orders=[open_order(RESTING), open_order(BOUGHT)]),
            ("AAPL: order 901 works at the broker, not in the ledger",),
        ),
        (
            told(open_orders=[open_order(RESTING), open_order(limit("x", 9), perm_id=5, client_id=0)]),
            ("AAPL: order 5 works at the broker, not in the ledger",),
        ),
        (told(open_orders=[open_order(RESTING), open_order(BOUGHT, "Filled")]), ()),
    ],
)
def test_a_difference_is_one_sentence(ledger, answer, sentences):
    assert differences(ledger, answer, CLIENT) == sentences
