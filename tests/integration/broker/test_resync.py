"""Asking for the account's state beside a running Cerebro."""

import threading
from contextlib import ExitStack
from queue import Empty
from time import monotonic

import pytest

from broker.ib.messages import AccountSnapshot
from broker.ib.session import Session
from broker.ib.settings import SessionSettings
from broker.live.resync import Resync

pytestmark = pytest.mark.integration


@pytest.fixture
def asked(start):
    """A gateway, a session's queue and a resync that asks it."""
    with ExitStack() as stack:
        desk = start()
        settings = SessionSettings(port=desk.gateway.port, reset=None, heartbeat_seconds=60.0)
        session = stack.enter_context(Session(settings))
        session.open()
        heard = session.listen()
        resync = Resync(session, seconds=0.3).start()
        stack.callback(resync.stop)
        yield desk, heard, resync


def snapshots(heard, count, seconds=10.0):
    """Wait for snapshots; how many came."""
    until, found = monotonic() + seconds, 0
    while found < count:
        try:
            event = heard.get(timeout=max(until - monotonic(), 0.0))
        except Empty:
            return found
        found += isinstance(event, AccountSnapshot)
    return found


def test_a_question_is_answered_by_a_snapshot(asked):
    _, heard, resync = asked
    resync.ask()
    assert snapshots(heard, 1) == 1


def test_many_questions_at_once_become_two_at_most(asked):
    _, heard, resync = asked
    for _ in range(50):
        resync.ask()
    assert snapshots(heard, 1) == 1
    resync.stop()
    assert snapshots(heard, 2, seconds=0.0) <= 1


def test_a_question_without_a_whole_answer_is_asked_again(asked):
    desk, heard, resync = asked
    desk.command("fault", answer="positionEnd", action="drop", times=1)
    resync.ask()
    assert snapshots(heard, 1) == 1


def test_an_end_that_comes_while_a_question_is_taken_up_is_seen(asked):
    _, _, resync = asked
    resync.stop()

    class Wish(threading.Event):
        """The wish for a snapshot; as it is taken up, the end comes."""

        def clear(self):
            late._over.set()
            self.set()
            super().clear()

    late = Resync(resync._gateway, seconds=0.3)
    late._wanted = Wish()
    late.start().ask()
    late._thread.join(5)
    assert not late._thread.is_alive()
