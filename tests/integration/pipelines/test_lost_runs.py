"""Runs that end or fall silent without a word: told of once, in the ledger and to people, and given up when dead."""

import json
import os
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test, freeze_time
from pydantic import SecretStr

from broker.deployment.supervision import SUPERVISOR
from broker.simulator.background import BackgroundGateway
from broker.simulator.settings import ClockMode, SimulatorSettings
from pipelines.deployments import open_ledger, run_session
from pipelines.live_definitions import ACCOUNT_TAG, DEPLOYMENT_TAG, JOB, SESSION_TAG, supervise_all
from pipelines.settings import Settings
from tests.integration.pipelines.test_deployments import ACCOUNT, DAY, on, run
from tests.unit.broker.simulator.recordings import minutes
from warehouse.errors import AccountLockedError
from warehouse.ledger.locks import AccountLock
from warehouse.ledger.records import Heartbeat, Scope, SessionEnded, SessionStarted
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

BEFORE = "2024-01-05"  # the session before
SCOPE = Scope("quick", ACCOUNT, DAY)
FAILURE, CANCELED, STARTED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.STARTED


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """A stepped gateway in the middle of a session."""
    root = tmp_path_factory.mktemp("recorded")
    minutes(root, "AAPL")
    with BackgroundGateway(
        SimulatorSettings(port=0, control_port=0, clock=ClockMode.STEPPED, start=DAY), Warehouse(root)
    ) as made:
        made.command("step", bars=10)
        yield made


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def service():
    """Where alarms go: its address, and what it was told as (title, body)."""
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.append((body["title"], body["message"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"json://127.0.0.1:{server.server_port}", heard
        server.shutdown()
        thread.join(10)


@pytest.fixture
def told(service):
    return service[1]


@pytest.fixture
def settings(gateway, tmp_path, service):
    return Settings(
        data_dir=tmp_path / "data", results_dir=tmp_path / "results", ib_port=gateway.port,
        simulator_url=f"http://127.0.0.1:{gateway.control_port}", alert_urls=SecretStr(service[0]),
    )  # fmt: skip


def alarms(settings, session=DAY):
    with open_ledger(settings) as ledger:
        return [(one.code, one.text) for one in ledger.alarms("quick", session)]


def test_the_supervisor_leaves_a_sign_of_life(settings, instance):
    on(settings)
    began = datetime.now(UTC)
    supervise_all(instance, settings)
    with open_ledger(settings) as ledger:
        beat = ledger.last_heartbeat("quick", SUPERVISOR)
    assert (beat.pid, beat.ts >= began) == (os.getpid(), True)


@pytest.mark.parametrize("status", [FAILURE, CANCELED])
def test_a_run_that_ended_without_a_word_is_told_of_once(settings, instance, told, status):
    on(settings)
    lost = run(instance, status)
    for _ in range(3):
        supervise_all(instance, settings)
    text = f"run 1 ({lost.run_id[:8]}) of session {DAY} is {status.value} in Dagster and left no word of its end."
    assert alarms(settings) == [("run_failed", text)]
    assert told == [("quick: run_failed", text)]


def test_a_run_that_wrote_its_end_is_not_told_of_again(settings, instance, told):
    on(settings)
    failed = run(instance, FAILURE)
    with open_ledger(settings) as ledger:
        now = datetime.now(UTC)
        ledger.append(SCOPE, SessionStarted(now, failed.run_id, 1))
        ledger.append(SCOPE, SessionEnded(now, failed.run_id, 1, "failed", "a reason"))
    supervise_all(instance, settings)
    assert (alarms(settings), told) == ([], [])


def test_a_run_that_was_killed_after_its_start_is_told_of(settings, instance, told):
    on(settings)
    killed = run(instance, FAILURE)
    with open_ledger(settings) as ledger:
        ledger.append(SCOPE, SessionStarted(datetime.now(UTC), killed.run_id, 1))
    supervise_all(instance, settings)
    assert len(told) == 1


def test_a_run_that_could_not_begin_says_why_and_the_supervisor_does_not_repeat_it(settings, instance, told):
    on(settings)
    failed = run(instance, FAILURE)
    with open_ledger(settings) as ledger, AccountLock(ledger, ACCOUNT), pytest.raises(AccountLockedError):
        run_session(settings, "quick", DAY, run_id=failed.run_id, attempt=1, stop=threading.Event())
    supervise_all(instance, settings)
    ((code, text),) = alarms(settings)
    assert code == "run_failed"
    assert text.startswith(
        f"run 1 ({failed.run_id[:8]}) of session {DAY} did not begin: account: {ACCOUNT} is traded by process"
    )
    assert [body for _, body in told] == [text]


def test_a_run_that_was_lost_towards_the_close_is_told_of_in_the_next_session(settings, instance, told):
    on(settings)
    tags = {DEPLOYMENT_TAG: "quick", SESSION_TAG: BEFORE, ACCOUNT_TAG: ACCOUNT}
    create_run_for_test(instance, job_name=JOB, tags=tags, status=FAILURE)
    supervise_all(instance, settings)
    assert [body.split(")")[1] for _, body in told] == [
        " of session 2024-01-05 is FAILURE in Dagster and left no word of its end."
    ]


def silent(settings, instance):
    """A run that Dagster calls running and that beat last two minutes ago."""
    now = datetime.now(UTC)
    with freeze_time(now - timedelta(hours=1)):
        going = run(instance, STARTED)
    with open_ledger(settings) as ledger:
        ledger.beat("quick", Heartbeat(now - timedelta(minutes=2), "trader", 1, "here", "READY"))
    return going


def test_a_silent_run_that_holds_the_account_is_told_of_once_and_left(settings, instance, told):
    on(settings)
    going = silent(settings, instance)
    with open_ledger(settings) as ledger, AccountLock(ledger, ACCOUNT):
        for _ in range(3):
            assert supervise_all(instance, settings)[0] == []
    assert [code for code, _ in alarms(settings)] == ["stale_heartbeat"]
    assert len(told) == 1
    assert instance.get_run_by_id(going.run_id).status is STARTED


def test_a_silent_run_whose_account_is_free_is_given_up_and_followed_by_another(settings, instance, told):
    on(settings)
    going = silent(settings, instance)
    (request,), _ = supervise_all(instance, settings)
    assert request.run_key == f"quick:{DAY}:2"
    assert instance.get_run_by_id(going.run_id).status is FAILURE
    supervise_all(instance, settings)
    text = f"run 1 ({going.run_id[:8]}) of session {DAY} is given up: it is silent, and the account's lock is free."
    assert (alarms(settings), told) == ([("run_failed", text)], [("quick: run_failed", text)])


def test_a_silent_run_of_the_session_before_is_given_up(settings, instance, told):
    on(settings)
    tags = {DEPLOYMENT_TAG: "quick", SESSION_TAG: BEFORE, ACCOUNT_TAG: ACCOUNT}
    with freeze_time(datetime.now(UTC) - timedelta(hours=1)):
        going = create_run_for_test(instance, job_name=JOB, tags=tags, status=STARTED)
    supervise_all(instance, settings)
    assert instance.get_run_by_id(going.run_id).status is FAILURE
    assert len(told) == 1


def test_when_no_attempt_is_left_that_is_told_of_once(settings, instance, told):
    on(settings)
    for _ in range(6):
        run(instance, FAILURE)
    for _ in range(3):
        assert supervise_all(instance, settings)[0] == []
    codes = [title for title, _ in told]
    assert (codes.count("quick: run_failed"), codes.count("quick: attempts_exhausted"), len(codes)) == (6, 1, 7)
