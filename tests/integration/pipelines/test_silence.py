"""A run that gives no sign of life is told once, however often the supervisor looks."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from pydantic import SecretStr

from broker.deployment.trading import COMPONENT
from broker.simulator.background import BackgroundGateway
from broker.simulator.settings import ClockMode, SimulatorSettings
from pipelines.deployments import open_ledger
from pipelines.live_definitions import ACCOUNT_TAG, DEPLOYMENT_TAG, JOB, SESSION_TAG, supervise_all
from pipelines.settings import Settings
from tests.integration.broker.receiver import receiving
from tests.unit.broker.simulator.recordings import minutes
from warehouse.ledger.locks import AccountLock
from warehouse.ledger.records import DeploymentSwitched, Heartbeat, Scope
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

ACCOUNT, DAY = "DU1234567", date(2024, 1, 8)


@pytest.fixture
def settings(tmp_path):
    """Settings by whose clock a session is open."""
    minutes(tmp_path / "recorded", "AAPL")
    simulator = SimulatorSettings(port=0, control_port=0, clock=ClockMode.STEPPED, start=DAY)
    with BackgroundGateway(simulator, Warehouse(tmp_path / "recorded")) as gateway:
        gateway.command("step", bars=10)
        yield Settings(
            data_dir=tmp_path / "data", ib_port=gateway.port, simulator_url=f"http://127.0.0.1:{gateway.control_port}"
        )


def test_a_run_that_is_silent_is_told_once_and_recorded_however_often_it_is_looked_at(settings):
    with receiving() as receiver, open_ledger(settings) as ledger, dg.DagsterInstance.ephemeral() as instance:
        ledger.append(Scope("quick", ACCOUNT), DeploymentSwitched(datetime.now(UTC), True, "quick", "paper", "", ""))
        tags = {DEPLOYMENT_TAG: "quick", SESSION_TAG: DAY.isoformat(), ACCOUNT_TAG: ACCOUNT}
        create_run_for_test(instance, job_name=JOB, status=dg.DagsterRunStatus.STARTED, tags=tags)
        told = settings.model_copy(update={"alert_urls": SecretStr(receiver.url)})
        beat = Heartbeat(datetime.now(UTC) + timedelta(seconds=1), COMPONENT, 1, "host", "READY")
        ledger.beat("quick", beat)
        with AccountLock(ledger, ACCOUNT):
            for seconds in (120, 130, 480):
                supervise_all(instance, told, now=beat.ts + timedelta(seconds=seconds))
            (alarm,) = [one.record for one in ledger.events("quick") if one.record.kind == "alarm"]
            assert receiver.until(lambda: len(receiver.alerts) == 1)
    text = f"nothing was heard of its run since {beat.ts:%Y-%m-%d %H:%M:%S} UTC, but the account's lock is still held."
    assert (alarm.code, alarm.text) == ("stale_heartbeat", text)
    assert receiver.alerts[0] == ("quick: stale_heartbeat", text)
