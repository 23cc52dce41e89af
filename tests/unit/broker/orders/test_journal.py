"""Changes as JSON documents."""

import json

import pytest

from broker.errors import OrderBookError
from broker.orders.changes import Question
from broker.orders.journal import read, written
from tests.unit.broker.orders.telling import Desk, at, commission, execution, held, ticket


def test_every_change_of_a_run_is_read_as_it_was_written():
    desk = Desk(held(3, "40.125"))
    order = desk.working(ticket())
    done = execution(order, 1, "0.1", price="50.05")
    desk.hear(done, commission(done, "0.35"))
    texts = [json.dumps(written(change)) for change in desk.told]
    assert [read(json.loads(text)) for text in texts] == desk.told
    assert len({type(change) for change in desk.told}) > 5


def test_quantities_and_money_are_texts():
    document = written(commission_change())
    assert document["commission"]["amount"] == "0.35"


def commission_change():
    desk = Desk()
    order = desk.working(ticket())
    done = execution(order, 1, 10)
    return desk.hear(done, commission(done, "0.35"))[-1]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"kind": "Nonsense"}, "kind: 'Nonsense'"),
        ({}, "kind: ''"),
        ({"kind": "Question", "ts": "yesterday", "order_ref": "", "reason": ""}, "Question.ts"),
    ],
)
def test_a_document_that_is_no_change_is_refused(document, text):
    with pytest.raises(OrderBookError, match=text):
        read(document)


def test_a_question_is_a_change_too():
    assert read(written(Question(at(), "one", "why"))) == Question(at(), "one", "why")
