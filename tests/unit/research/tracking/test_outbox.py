"""The outbox keeps runs whole, in order, and one process at a time at each of them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from research.tracking import Outbox, TrackedRun, TrackingError, sync, track, tracking_place

NOW = datetime(2024, 1, 2, tzinfo=UTC)
RUN = TrackedRun(key="backtest-1", experiment_name="A.B.C.D", run_name="one", started=NOW, ended=NOW)
NOWHERE = "http://127.0.0.1:9"


def test_what_was_put_in_is_there_whole_and_the_oldest_comes_first(tmp_path):
    outbox = Outbox(tmp_path)
    runs = [replace(RUN, key=key) for key in ("b", "a", "c")]
    for run in runs:
        outbox.put(run)
    assert outbox.pending() == ["b", "a", "c"]
    assert [outbox.read(key) for key in outbox.pending()] == runs


def test_a_store_that_is_down_costs_nothing_and_loses_nothing(tmp_path):
    outbox, place = Outbox(tmp_path), tracking_place(tmp_path, NOWHERE)
    tracked = track(RUN, outbox, place)
    assert (tracked.sent, tracked.unreachable, outbox.read(RUN.key)) == (None, True, RUN)
    report = sync(outbox, place)
    assert (report.sent, report.left, report.complete) == ((), (RUN.key,), False)
    assert "cannot be reached" in report.unreachable


def test_an_empty_outbox_asks_no_store(tmp_path):
    report = sync(Outbox(tmp_path), tracking_place(tmp_path, NOWHERE))
    assert (report.complete, report.unreachable) == (True, None)


def test_a_run_that_another_process_is_sending_waits_without_blaming_the_store(tmp_path, monkeypatch):
    outbox = Outbox(tmp_path)
    monkeypatch.setattr("research.tracking.outbox.open_store", lambda *_, **__: Idle())
    with outbox.lock(RUN.key, 1):
        tracked = track(RUN, Outbox(tmp_path), tracking_place(tmp_path, NOWHERE), patience=0.1)
    assert tracked.waits == "outbox: another process is sending this run."
    assert not tracked.unreachable
    assert outbox.pending() == [RUN.key]


def test_a_file_that_is_no_run_is_told(tmp_path):
    outbox = Outbox(tmp_path)
    outbox.folder.mkdir(parents=True)
    (outbox.folder / "x.json").write_text("{")
    with pytest.raises(TrackingError, match=r"x\.json cannot be read"):
        outbox.read("x")


class Idle:
    """A store that is only opened and closed."""

    def close(self):
        pass
