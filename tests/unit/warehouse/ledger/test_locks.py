"""The lock on an account beside a file; other processes are in the integration tests."""

import os
import socket
import threading
from datetime import UTC, datetime

import pytest

from warehouse.errors import AccountLockedError
from warehouse.ledger.locks import AccountLock
from warehouse.ledger.store import Ledger


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite") as opened:
        yield opened


def test_an_account_is_free_until_it_is_taken_and_after_it_was_let_go(ledger):
    lock, other = AccountLock(ledger, "DU1"), AccountLock(ledger, "DU1")
    assert (other.is_free(), other.holder(), lock.is_held()) == (True, None, False)
    with lock:
        assert (lock.is_held(), other.is_held(), other.is_free()) == (True, False, False)
        assert AccountLock(ledger, "DU2").is_free()
    assert (other.is_free(), other.holder(), lock.is_held()) == (True, None, False)


def test_the_holder_is_told_to_whoever_comes_second(ledger):
    before = datetime.now(UTC)
    with AccountLock(ledger, "DU1"):
        holder = AccountLock(ledger, "DU1").holder()
        assert (holder.pid, holder.host) == (os.getpid(), socket.gethostname())
        assert before <= holder.since <= datetime.now(UTC)
        with pytest.raises(AccountLockedError, match=f"account: DU1 is traded by process {os.getpid()} on "):
            AccountLock(ledger, "DU1").acquire()


def test_a_lock_cannot_be_taken_twice_and_can_be_let_go_twice(ledger):
    lock = AccountLock(ledger, "DU1")
    lock.acquire()
    with pytest.raises(AccountLockedError):
        lock.acquire()
    lock.release()
    lock.release()
    assert lock.is_free()


def test_two_names_of_one_file_are_one_lock(ledger, tmp_path):
    (tmp_path / "alias.sqlite").symlink_to(tmp_path / "ledger.sqlite")
    with AccountLock(ledger, "DU1"), Ledger.open(tmp_path / "alias.sqlite") as same:
        assert not AccountLock(same, "DU1").is_free()


def test_an_account_of_any_spelling_has_its_own_lock(ledger):
    with AccountLock(ledger, "../DU1"):
        assert not AccountLock(ledger, "../DU1").is_free()
        assert AccountLock(ledger, "DU1").is_free()
    assert {path.parent for path in ledger.place.file.parent.rglob("*.lock")} == {ledger.place.file.parent}


def test_looking_does_not_stand_in_the_way_of_taking(ledger):
    stop = threading.Event()
    looks = []

    def look():
        while not stop.is_set():
            looks.append(AccountLock(ledger, "DU1").is_free())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(50):
            with AccountLock(ledger, "DU1"):
                pass
    finally:
        stop.set()
        thread.join()
    assert looks
