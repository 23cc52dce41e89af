"""Alerts reach their service, are folded, and never hold anybody up."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from broker.alerts import Alerts, AlertSettingsError, notifier


class Service:
    """A notifier that records, and waits where it is told to."""

    def __init__(self, answer=True):
        self.heard, self.answer = [], answer
        self.open = threading.Event()
        self.open.set()
        self.came = threading.Condition()

    def notify(self, *, title, body):
        self.open.wait(10)
        with self.came:
            self.heard.append((title, body))
            self.came.notify_all()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def until(self, count):
        with self.came:
            assert self.came.wait_for(lambda: len(self.heard) >= count, 10)
        return [body for _, body in self.heard]


@pytest.fixture
def web():
    """A server that records what is sent to it."""
    heard, came = [], threading.Condition()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.note(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_GET(self):
            self.note(self.path)

        def note(self, what):
            self.send_response(200)
            self.end_headers()
            with came:
                heard.append(what)
                came.notify_all()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.heard = heard
    server.until = lambda count: came.acquire() and came.wait_for(lambda: len(heard) >= count, 10) and came.release()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_alarm_arrives_through_apprise(web):
    with Alerts("momentum on DU1", notifier([f"json://127.0.0.1:{web.server_port}"])) as alerts:
        alerts.tell("outage", "The gateway is gone.")
        web.until(1)
    assert (web.heard[0]["title"], web.heard[0]["message"]) == ("momentum on DU1: outage", "The gateway is gone.")
    assert alerts.counts.sent == 1


def test_the_dead_mans_switch_is_fetched_with_the_heartbeat_but_not_too_often(web):
    now = [0.0]
    switch = f"http://127.0.0.1:{web.server_port}/alive"
    with Alerts("x", None, switch=switch, beat_seconds=30, monotonic=lambda: now[0]) as alerts:
        alerts.beat()
        web.until(1)
        alerts.beat()
        now[0] = 30.0
        alerts.beat()
        web.until(2)
    assert web.heard == ["/alive", "/alive"]


def test_repeated_alarms_are_one_message_more():
    now, service = [0.0], Service()
    with Alerts("x", service, fold_seconds=60, monotonic=lambda: now[0]) as alerts:
        for number in range(5):
            alerts.tell("rejected", f"order {number}")
        alerts.tell("outage", "gone")
        now[0] = 60.0
        alerts.tell("rejected", "order 5")
        assert service.until(4) == [
            "order 0", "gone", "order 4 (and 4 times more since the last message)", "order 5"
        ]  # fmt: skip
    assert alerts.counts.folded == 4


def test_repetitions_are_sent_when_the_fold_is_over_though_nothing_follows():
    service = Service()
    with Alerts("x", service, fold_seconds=0.05) as alerts:
        alerts.tell("rejected", "order 0")
        alerts.tell("rejected", "order 1")
        assert service.until(2)[1] == "order 1 (and once more since the last message)"


def test_what_waits_is_sent_before_the_end():
    service = Service()
    with Alerts("x", service, fold_seconds=1000) as alerts:
        alerts.tell("rejected", "order 0")
        alerts.tell("rejected", "order 1")
    assert [body for _, body in service.heard] == ["order 0", "order 1 (and once more since the last message)"]


def test_a_service_that_hangs_holds_nobody_up_and_costs_the_oldest_alarms():
    service = Service()
    service.open.clear()
    with Alerts("x", service) as alerts:
        for number in range(1500):
            alerts.tell(f"kind {number}", "text")  # returns at once
        assert alerts.counts.dropped >= 499
        service.open.set()


@pytest.mark.parametrize("answer", [False, None, RuntimeError("plug-in broke")])
def test_what_could_not_be_sent_is_counted(answer):
    service = Service(answer)
    with Alerts("x", service) as alerts:
        alerts.tell("outage", "gone")
        service.until(1)
    assert (alerts.counts.sent, alerts.counts.failed) == (0, 1)


def test_a_switch_that_cannot_be_reached_is_counted():
    with Alerts("x", None, switch="http://127.0.0.1:1/alive") as alerts:
        alerts.beat()
    assert alerts.counts.failed == 1


def test_an_address_that_apprise_does_not_know_is_refused_without_its_secret():
    with pytest.raises(AlertSettingsError) as error:
        notifier(["json://127.0.0.1:1", "nothing://user:secret@host"])
    assert str(error.value) == "alert_urls: address 2 of 2 is not one that apprise understands."
