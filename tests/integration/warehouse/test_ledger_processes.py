"""The ledger's promises against processes that are killed, that race, and that run out of room."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.warehouse.ledger.samples import SCOPE, intent
from warehouse.errors import AccountLockedError, AlreadyRecordedError
from warehouse.ledger.locks import AccountLock
from warehouse.ledger.store import Ledger

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "tests" / "unit" / "warehouse" / "ledger"

COMMITS = """
import sys
from samples import SCOPE, intent
from warehouse.ledger.store import Ledger
with Ledger.open(sys.argv[1]) as ledger:
    for number in range(int(sys.argv[2])):
        ledger.commit_intent(SCOPE, intent(f"a-{number}"))
        print(f"a-{number}", flush=True)
    sys.stdin.read()  # where it would be sent
"""

LOCKS = """
import sys
from warehouse.ledger.locks import AccountLock
from warehouse.ledger.store import Ledger
with Ledger.open(sys.argv[1]) as ledger, AccountLock(ledger, "DU1"):
    print("held", flush=True)
    sys.stdin.read()
"""

OPENS = """
import sys
from samples import SCOPE, intent
from warehouse.ledger.store import Ledger
print("ready", flush=True)
sys.stdin.readline()
with Ledger.open(sys.argv[1]) as ledger:
    ledger.commit_intent(SCOPE, intent(sys.argv[2]))
"""

FULL = """
import resource, signal, sys
from samples import SCOPE, intent, switched
from warehouse.errors import LedgerError
from warehouse.ledger.store import Ledger
with Ledger.open(sys.argv[1]) as ledger:
    ledger.append(SCOPE, switched())
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, most))
    try:
        for number in range(1000):
            ledger.commit_intent(SCOPE, intent(f"a-{number}", reason="x" * 1000))
    except LedgerError as error:
        print(number, error, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    ledger.commit_intent(SCOPE, intent("later"))
"""


def started(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], cwd=ROOT, text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": f"{ROOT}:{SAMPLES}"},
    )  # fmt: skip


def killed(process):
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    process.stdin.close()
    process.stdout.close()


def test_an_intent_outlives_a_kill_between_its_commit_and_its_sending(tmp_path):
    path = tmp_path / "ledger.sqlite"
    process = started(COMMITS, path, 1)
    assert process.stdout.readline() == "a-0\n"
    killed(process)
    with Ledger.open(path) as ledger:
        assert [(one.intent, one.state) for one in ledger.open_intents("DU1")] == [(intent("a-0"), None)]
        with pytest.raises(AlreadyRecordedError):
            ledger.commit_intent(SCOPE, intent("a-0"))


def test_whenever_a_writer_is_killed_what_it_was_told_is_there(tmp_path):
    path = tmp_path / "ledger.sqlite"
    process = started(COMMITS, path, 100_000)
    heard = [process.stdout.readline().strip() for _ in range(40)]
    process.send_signal(signal.SIGKILL)
    heard += process.stdout.read().split()
    killed(process)
    with Ledger.open(path) as ledger:
        kept = [one.intent.order_ref for one in ledger.open_intents("DU1")]
        assert kept[: len(heard)] == heard
        assert len(kept) <= len(heard) + 1  # one may have been committed and not told
        assert ledger.rebuild() == len(kept)


def test_an_account_is_held_by_one_process_until_that_is_killed(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        process = started(LOCKS, path)
        assert process.stdout.readline() == "held\n"
        mine = AccountLock(ledger, "DU1")
        assert not mine.is_free()
        assert mine.holder().pid == process.pid
        with pytest.raises(AccountLockedError, match=f"account: DU1 is traded by process {process.pid} on "):
            mine.acquire()
        killed(process)
        assert mine.is_free()
        with mine:
            assert mine.is_held()
            other = started(LOCKS, path)
            assert other.wait(timeout=60) != 0
            other.communicate()


def test_a_program_that_the_holder_started_does_not_keep_the_account(tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        lock = AccountLock(ledger, "DU1")
        lock.acquire()
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        lock.release()
        assert lock.is_free()
        child.communicate()


def test_processes_that_open_a_new_ledger_at_once_all_get_it(tmp_path):
    path = tmp_path / "ledger.sqlite"
    processes = [started(OPENS, path, f"a-{number}") for number in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with Ledger.open(path) as ledger:
        assert sorted(one.intent.order_ref for one in ledger.open_intents("DU1")) == ["a-0", "a-1", "a-2", "a-3"]


def test_a_full_disk_is_told_and_what_was_committed_before_stays(tmp_path):
    path = tmp_path / "ledger.sqlite"
    process = started(FULL, path)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    refused, sentence = said.split(" ", 1)
    assert sentence.startswith(f"ledger: the intent a-{refused} failed in ")
    with Ledger.open(path) as ledger:
        kept = [one.intent.order_ref for one in ledger.open_intents("DU1")]
    assert kept == [*(f"a-{number}" for number in range(int(refused))), "later"]
