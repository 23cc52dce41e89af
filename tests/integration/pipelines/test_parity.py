"""The job reports what a session was worth against its backtest, and the asset does so again with the day's bars."""

import threading
import time
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from broker.simulator.background import BackgroundGateway
from broker.simulator.settings import ClockMode, SimulatorSettings
from pipelines.deployments import give_command, open_ledger, switch_on
from pipelines.live_definitions import JOB, LiveSettings, ParityConfig, SessionConfig, defs, parity_report
from pipelines.parity import compare_session
from pipelines.settings import load_settings
from research.experiment import load_experiment
from research.parity.checks import CHECKS
from tests.unit.broker.simulator.recordings import minutes
from warehouse.errors import NoDataError
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

DAY = date(2024, 1, 8)
TEXT = """strategy: strategies.sma_crossover.SMACrossover
params: {sma_short: 2, sma_long: 3, max_concentration: 0.001, max_position_size: 0.001}
symbols: [AAPL]
start: 2024-01-02
end: 2024-01-05
resolution: 1m
costs: {model: ibkr_fixed}
"""


class Project:
    """A project folder whose deployment has traded a part of a session, run by the job itself."""

    def __init__(self, root, gateway, instance):
        self.root, self.gateway, self.instance = root, gateway, instance
        (root / "quick.yaml").write_text(TEXT)
        (root / ".env").write_text(
            f"BARLOOM_DATA_DIR={root}/data\nBARLOOM_RESULTS_DIR={root}/results\nBARLOOM_IB_PORT={gateway.port}\n"
            f"BARLOOM_SIMULATOR_URL=http://127.0.0.1:{gateway.control_port}\n"
        )
        self.settings = load_settings(root, {})
        switch_on(self.settings, load_experiment(root / "quick.yaml"), TEXT, name=None, confirm_live=None, by="tester")

    def trade(self, bars):
        ended = []
        config = SessionConfig(deployment="quick", session=DAY.isoformat(), attempt=1)
        job = defs.resolve_job_def(JOB)
        thread = threading.Thread(
            target=lambda: ended.append(
                job.execute_in_process(
                    run_config=dg.RunConfig(ops={"trade_session": config}), instance=self.instance,
                    resources={"live": Fixed(folder=str(self.root))},
                )
            ),
            daemon=True,
        )  # fmt: skip
        began = datetime.now(UTC)
        thread.start()
        with open_ledger(self.settings) as ledger:
            until(lambda: self._status(ledger, began).startswith("READY"))
            for _ in range(30):  # the data are live from the first bar on that the stream brings
                self.gateway.command("step", bars=1)
                if happens(lambda: "1 of 1" in self._status(ledger, began), 0.7):
                    break
            for _ in range(bars):
                seen = len(ledger.events("quick"))
                self.gateway.command("step", bars=1)
                until(lambda seen=seen: len(ledger.events("quick")) > seen)
            give_command(ledger, "quick", "stop_keep", "enough", "tester")
        thread.join(60)
        (result,) = ended
        return result

    def _status(self, ledger, began):
        beat = ledger.last_heartbeat("quick")
        return "" if beat is None or beat.ts < began else beat.status


class Fixed(LiveSettings):
    """The settings of a folder, whatever the environment says."""

    folder: str

    def load(self):
        return load_settings(Path(self.folder), {})


def happens(what, seconds):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def until(what):
    assert happens(what, 40), "timed out"


@pytest.fixture(scope="module")
def traded(tmp_path_factory):
    recorded = tmp_path_factory.mktemp("recorded")
    minutes(recorded, "AAPL")
    settings = SimulatorSettings(port=0, control_port=0, clock=ClockMode.STEPPED, start=DAY)
    with BackgroundGateway(settings, Warehouse(recorded)) as gateway, dg.DagsterInstance.ephemeral() as instance:
        project = Project(tmp_path_factory.mktemp("project"), gateway, instance)
        result = project.trade(bars=12)
        yield project, result, Warehouse(recorded)


def test_the_job_reports_the_session_and_its_parity(traded):
    _, result, _ = traded
    session, parity = result.asset_materializations_for_node("trade_session")
    assert (session.asset_key.path, parity.asset_key.path) == (["session_report"], ["parity_report"])
    metadata = parity.metadata
    assert metadata["compared with"].text == "bars as seen"
    assert "the warehouse does not hold 2024-01-08 yet" in metadata["remarks"].md_str
    assert metadata["plot"].md_str.startswith("![from backtest to live](data:image/png;base64,")
    assert {"slippage", "equity"} <= set(session.metadata)
    assert [check.check_name for check in result.get_asset_check_evaluations()] == list(CHECKS)


def test_the_asset_is_made_again_with_the_bars_of_the_warehouse(traded):
    project, _, recorded = traded
    bars = recorded.read_clean("AAPL", Resolution.MINUTE)
    Warehouse(project.settings.data_dir).write_clean("AAPL", Resolution.MINUTE, bars)
    result = dg.materialize(
        [parity_report], instance=project.instance, resources={"live": Fixed(folder=str(project.root))},
        run_config=dg.RunConfig(ops={"parity_report": ParityConfig(deployment="quick")}), selection=[parity_report],
    )  # fmt: skip
    (made,) = result.asset_materializations_for_node("parity_report")
    assert made.metadata["compared with"].text == "bars of the warehouse"
    assert made.metadata["data_revision"].value == 0
    assert (project.settings.results_dir / "parity" / "quick" / "2024-01-08" / "parity.html").exists()
    passed = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
    assert set(passed) == set(CHECKS)
    assert passed["data_revision"]


def test_tolerances_come_from_a_file(traded):
    project, _, _ = traded
    strict = project.root / "parity.yaml"
    strict.write_text("costs: 0\nsignals: 100\n")
    compared = compare_session(project.settings.model_copy(update={"parity_file": strict}), "quick", DAY)
    most = {one.name: one.most for one in compared.verdicts}
    assert (most["costs"], most["signals"], most["total"]) == (0, 100, 5)


def test_a_session_whose_bars_were_not_recorded_is_one_sentence(traded, tmp_path):
    project, _, _ = traded
    elsewhere = project.settings.model_copy(update={"data_dir": tmp_path, "ledger_url": None})
    (tmp_path / "ledger.sqlite").write_bytes((project.settings.data_dir / "ledger.sqlite").read_bytes())
    with pytest.raises(NoDataError, match="session: no bars are recorded that quick saw on 2024-01-08"):
        compare_session(elsewhere, "quick", DAY)
