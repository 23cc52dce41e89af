"""What a live session saw is on disk, whatever ends it."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from warehouse.errors import NoDataError
from warehouse.schema import SEEN_SCHEMA
from warehouse.seen_bars import SeenBar, SeenBarsFile, read_seen_bars

DAY = date(2024, 1, 8)
TS = int(datetime(2024, 1, 8, 14, 31, tzinfo=UTC).timestamp()) * 1_000_000
BAR = SeenBar("AAPL", TS, 1.0, 2.0, 0.5, 1.5, 100.0, TS + 1_000_000, live=True)


RECORDER = """
import sys
from datetime import date
from pathlib import Path
from warehouse.seen_bars import SeenBar, SeenBarsFile
with SeenBarsFile(Path(sys.argv[1]), "sma", date(2024, 1, 8), 1, "run") as file:
    file.add(SeenBar("AAPL", 0, 1.0, 2.0, 0.5, 1.5, 100.0, 1, True))
    print("recorded", flush=True)
    sys.stdin.read()
"""


def file_holds_bars(root):
    try:
        return read_seen_bars(root, "sma", DAY).num_rows > 0
    except NoDataError:
        return False


def later(minutes, **fields):
    return replace(BAR, ts=TS + minutes * 60_000_000, **fields)


def written(root, *bars, attempt=1):
    with SeenBarsFile(root, "sma", DAY, attempt, "run") as file:
        for bar in bars:
            file.add(bar)
    return file


def test_bars_come_back_in_the_order_in_which_they_were_seen(tmp_path):
    written(tmp_path, later(1), BAR, later(2, live=False, symbol="MSFT"))
    table = read_seen_bars(tmp_path, "sma", DAY)
    assert table.schema.equals(SEEN_SCHEMA)
    assert table.select(["symbol", "live", "close", "run"]).to_pylist() == [
        {"symbol": "AAPL", "live": True, "close": 1.5, "run": 1},
        {"symbol": "AAPL", "live": True, "close": 1.5, "run": 1},
        {"symbol": "MSFT", "live": False, "close": 1.5, "run": 1},
    ]
    assert table["seen"][0].as_py() == datetime(2024, 1, 8, 14, 31, 1, tzinfo=UTC)


def test_the_runs_of_a_session_are_read_together(tmp_path):
    written(tmp_path, later(5), attempt=10)
    written(tmp_path, BAR, attempt=2)
    table = read_seen_bars(tmp_path, "sma", DAY)
    assert [(row["run"], row["ts"].minute) for row in table.to_pylist()] == [(1, 31), (2, 36)]


def test_a_file_that_was_cut_off_gives_what_was_whole(tmp_path):
    with SeenBarsFile(tmp_path, "sma", DAY, 1, "run") as file:
        file.add(BAR)
    content = file.path.read_bytes()
    half = content + content[-300:-20]  # another record began
    file.path.write_bytes(half[:-8])
    assert read_seen_bars(tmp_path, "sma", DAY).num_rows == 1
    file.path.write_bytes(content[:40])
    with pytest.raises(NoDataError):
        read_seen_bars(tmp_path, "sma", DAY)


def test_what_was_seen_outlives_a_kill(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "recorded\n"
    while not file_holds_bars(tmp_path):
        assert child.poll() is None
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=30)
    assert read_seen_bars(tmp_path, "sma", DAY)["close"].to_pylist() == [1.5]


def test_a_disk_that_does_not_take_them_is_told_and_stops_nothing(tmp_path):
    (tmp_path / "seen").write_text("no folder")
    file = written(tmp_path, BAR)
    assert file.fault is not None
    assert "the bars of the session are not recorded" in file.fault


def test_nothing_recorded_is_one_sentence(tmp_path):
    with pytest.raises(NoDataError, match="session: no bars are recorded that sma saw on 2024-01-08"):
        read_seen_bars(tmp_path, "sma", DAY)
