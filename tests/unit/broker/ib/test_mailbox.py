"""A mailbox gives what was put into it, in order, and never waits longer than it was told to."""

import signal
import threading
import time
from queue import Empty

import pytest

from broker.ib.mailbox import Mailbox


def test_items_come_in_the_order_in_which_they_were_put():
    box = Mailbox()
    for number in range(5):
        box.put(number)
    assert [box.get(timeout=0), box.get_nowait(), *(box.get(timeout=1) for _ in range(3))] == [0, 1, 2, 3, 4]


def test_an_empty_box_says_so():
    box = Mailbox()
    with pytest.raises(Empty):
        box.get_nowait()
    with pytest.raises(Empty):
        box.get(timeout=0.01)


def test_nothing_that_several_threads_put_is_lost_and_the_reader_wakes_for_it():
    box, count = Mailbox(), 2_000
    writers = [threading.Thread(target=lambda own=own: [box.put((own, n)) for n in range(count)]) for own in range(3)]
    for writer in writers:
        writer.start()
    got = [box.get(timeout=10) for _ in range(3 * count)]
    for own in range(3):
        assert [n for writer, n in got if writer == own] == list(range(count))
    with pytest.raises(Empty):
        box.get_nowait()


def test_a_wait_ends_although_a_signal_took_longer_than_its_time():
    box = Mailbox()
    before = signal.signal(signal.SIGALRM, lambda *_: time.sleep(0.1))
    last_resort = threading.Timer(5, box.put, ["too late"])
    last_resort.start()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Empty):
            box.get(timeout=0.05)
    finally:
        last_resort.cancel()
        signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_may_fill_the_box_that_is_waited_for():
    box = Mailbox()
    before = signal.signal(signal.SIGALRM, lambda *_: box.put("end"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert box.get(timeout=5) == "end"
    finally:
        signal.signal(signal.SIGALRM, before)
