"""A tracking server that is killed, slow, absent or something else, and a real PostgreSQL."""

import socket
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from research.tracking import Children, Outbox, StoreUnreachableError, open_store, sync, track, tracking_place

pytestmark = pytest.mark.integration


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "tear sheet.html"
    path.write_text("<html>")
    return path


def test_a_server_killed_in_the_middle_loses_nothing_and_gets_nothing_twice(server, tmp_path, artifact, kit):
    study, outbox, place = kit.study(60, artifacts=[artifact]), Outbox(tmp_path), tracking_place(tmp_path, server.uri)
    outcomes = []
    sending = Thread(target=lambda: outcomes.append(track(study, outbox, place, patience=120)))
    sending.start()
    seen = kit.seen(server.uri)
    kit.until(lambda: 5 < len(seen.runs()) < 60, "some trials have arrived")
    server.kill()
    sending.join(timeout=60)
    (tracked,) = outcomes
    assert "cannot be reached" in tracked.waits
    assert outbox.read(study.key) == study

    start = time.monotonic()
    report = sync(outbox, place)  # still down
    assert time.monotonic() - start < 5
    assert (report.sent, report.left) == ((), (study.key,))
    assert "cannot be reached" in report.unreachable

    server.start()
    report = sync(outbox, place)
    assert report.complete
    seen.check_whole(study)
    assert (
        report.sent[0].link == f"{server.uri}/#/experiments/{report.sent[0].experiment_id}/runs/{report.sent[0].run_id}"
    )
    assert sync(outbox, place).sent == ()
    changed = replace(study, tags={**study.tags, "status": "archived"})
    assert track(changed, outbox, place, patience=120).sent.run_id == report.sent[0].run_id
    seen.check_whole(changed)


def test_a_server_that_accepts_and_never_answers_costs_the_callers_patience_and_no_more(tmp_path, kit):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        place = tracking_place(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        tracked = track(kit.study(3), Outbox(tmp_path), place, patience=1.0)
        assert time.monotonic() - start < 3
    assert "does not answer in time" in tracked.waits
    assert len(Outbox(tmp_path).pending()) == 1


def test_a_server_that_sends_a_byte_now_and_then_does_not_outlast_the_patience_either(tmp_path, kit):
    def drip(listening):
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            try:
                while True:
                    connection.sendall(b" ")
                    time.sleep(0.05)
            except OSError:
                return

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        Thread(target=drip, args=(listening,), daemon=True).start()
        place = tracking_place(tmp_path, f"http://127.0.0.1:{listening.getsockname()[1]}")
        start = time.monotonic()
        assert "does not answer in time" in track(kit.study(3), Outbox(tmp_path), place, patience=1.0).waits
        assert time.monotonic() - start < 4


def test_something_that_is_no_mlflow_server_is_told(tmp_path, kit):
    def answer(listening):
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        Thread(target=answer, args=(listening,), daemon=True).start()
        place = tracking_place(tmp_path, f"http://u:geheim@127.0.0.1:{listening.getsockname()[1]}")
        waits = track(kit.study(3), Outbox(tmp_path), place).waits
    assert "u:***@127.0.0.1" in waits
    assert "is not an MLflow server" in waits


@pytest.mark.parametrize(
    "uri", ["http://u:geheim@127.0.0.1:9", "http://u:geheim@nowhere.invalid", "postgresql://u:geheim@127.0.0.1:9/x"]
)
def test_an_unknown_server_is_one_sentence_without_its_password_at_once(tmp_path, uri):
    start = time.monotonic()
    with pytest.raises(StoreUnreachableError, match=r"\.$") as unreachable:
        open_store(tracking_place(tmp_path, uri), patience=5)
    assert time.monotonic() - start < 30  # MLflow alone takes its three seconds to load, more on a busy machine
    assert "geheim" not in str(unreachable.value)
    assert "\n" not in str(unreachable.value)


def test_a_real_postgresql_directly_and_behind_a_server(tmp_path, artifact, kit):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with kit.postgres(Path(folder)) as (uri, _):
            direct, through = kit.study(40, name="direct", artifacts=[artifact]), kit.study(4, name="through")
            place, outbox = tracking_place(tmp_path, uri), Outbox(tmp_path)
            tracked = track(direct, outbox, place, patience=120)
            assert tracked.waits is None
            assert kit.password not in repr(tracked)
            kit.seen(place.uri).check_whole(direct)
            (tmp_path / "server").mkdir()
            with kit.running(kit.server(tmp_path / "server", backend=place.uri)) as server:
                track(through, outbox, tracking_place(tmp_path, server.uri), patience=120)
                kit.seen(server.uri).check_whole(direct, through)
            records = [path.read_text() for path in (tmp_path / "mlflow").rglob("*.json")]
        waiting = track(kit.study(3, children=Children(), name="later"), outbox, place)  # the database is gone
        assert "cannot be used" in waiting.waits
        assert all(kit.password not in text for text in [*records, waiting.waits])
