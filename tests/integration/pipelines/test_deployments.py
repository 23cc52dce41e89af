"""Deployments are switched on through gates, and supervised by what Dagster and the ledger know."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from broker.errors import GatewayUnreachableError, WrongAccountError
from broker.simulator.background import BackgroundGateway
from broker.simulator.settings import ClockMode, SimulatorSettings
from pipelines.deployments import Switched, give_command, open_ledger, switch_on
from pipelines.errors import PipelineError, SettingsError
from pipelines.live_definitions import ACCOUNT_TAG, DEPLOYMENT_TAG, JOB, SESSION_TAG, defs, supervise_all
from pipelines.settings import Settings
from research.experiment import Experiment
from research.result import backtests_folder, page_text
from tests.integration.pipelines.real_login import REAL, RealLogin
from tests.unit.broker.simulator.recordings import minutes
from warehouse.errors import InvalidRequestError
from warehouse.ledger.locks import AccountLock
from warehouse.ledger.records import CommandAnswered, Scope, SessionEnded, SessionStarted
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

ACCOUNT, DAY = "DU1234567", date(2024, 1, 8)
TEXT = """strategy: strategies.sma_crossover.SMACrossover
symbols: [AAPL]
start: 2024-01-02
end: 2024-01-05
resolution: 1m
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """A stepped gateway, ten minutes into a session."""
    root = tmp_path_factory.mktemp("recorded")
    minutes(root, "AAPL")
    settings = SimulatorSettings(port=0, control_port=0, clock=ClockMode.STEPPED, start=DAY)
    with BackgroundGateway(settings, Warehouse(root)) as made:
        made.command("step", bars=10)
        yield made


@pytest.fixture
def settings(gateway, tmp_path):
    return Settings(
        data_dir=tmp_path / "data", results_dir=tmp_path / "results", ib_port=gateway.port,
        simulator_url=f"http://127.0.0.1:{gateway.control_port}",
    )  # fmt: skip


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def experiment(name="quick"):
    return Experiment.build(
        name=name, strategy="strategies.sma_crossover.SMACrossover", symbols=["AAPL"], start=date(2024, 1, 2),
        end=date(2024, 1, 5), resolution="1m",
    )  # fmt: skip


def on(settings, name="quick", confirm=None):
    return switch_on(settings, experiment(name), TEXT, name=None, confirm_live=confirm, by="tester")


def run(instance, status):
    """A run of the deployment's session as Dagster has it."""
    tags = {DEPLOYMENT_TAG: "quick", SESSION_TAG: DAY.isoformat(), ACCOUNT_TAG: ACCOUNT}
    return create_run_for_test(instance, job_name=JOB, tags=tags, status=status)


def test_the_code_location_loads_with_its_job_and_a_sensor_that_is_off():
    dg.Definitions.validate_loadable(defs)
    sensor = defs.get_repository_def().get_sensor_def("live_supervisor")
    assert (sensor.job_name, sensor.default_status) == (JOB, dg.DefaultSensorStatus.STOPPED)


def test_a_deployment_is_switched_on_for_the_account_that_the_gateway_tells(settings):
    switched = on(settings)
    assert (switched.deployment, switched.account) == ("quick", ACCOUNT)
    assert switched.remarks == ("quick has no backtest; run `barloom backtest --experiment quick`.",)
    with open_ledger(settings) as ledger:
        scope, record = ledger.deployments()["quick"]
        assert (scope.account, record.experiment_yaml, record.mode) == (ACCOUNT, TEXT, "paper")
        assert ledger.desired_state("quick").may_run


def test_an_account_is_traded_by_one_deployment(settings):
    on(settings)
    with pytest.raises(SettingsError, match="account: DU1234567 is traded by quick already; stop that first"):
        on(settings, "other")
    with open_ledger(settings) as ledger:
        give_command(ledger, "quick", "stop_keep", "enough", "tester")
    assert on(settings, "other").deployment == "other"


def test_switching_on_again_ends_a_stop(settings):
    on(settings)
    with open_ledger(settings) as ledger:
        give_command(ledger, "quick", "stop_keep", "enough", "tester")
        assert not ledger.desired_state("quick").may_run
        on(settings)
        assert ledger.desired_state("quick").may_run


def test_a_paper_account_is_not_switched_on_for_real_money(settings):
    live = settings.model_copy(update={"trading_mode": "live", "simulator_url": ""})
    with pytest.raises(WrongAccountError, match="DU1234567 is a paper account, but the mode is live"):
        on(live, confirm=ACCOUNT)


@pytest.fixture
def real(settings, gateway):
    """Settings for real money, of a login that is one."""
    with RealLogin(gateway.port) as login:
        yield settings.model_copy(update={"trading_mode": "live", "simulator_url": "", "ib_port": login.port})


@pytest.mark.parametrize("confirm", [None, ACCOUNT, "U9999999"])
def test_real_money_needs_the_account_once_more(real, confirm):
    with pytest.raises(SettingsError, match=f"needs --confirm-live {REAL}, the account to trade"):
        on(real, confirm=confirm)


def test_real_money_needs_a_backtest_that_speaks_for_it(real):
    with pytest.raises(SettingsError, match="quick: it is not switched on for real money: quick has no backtest"):
        on(real, confirm=REAL)
    with open_ledger(real) as ledger:
        assert ledger.deployments() == {}


def test_with_all_of_that_real_money_is_traded(real):
    page = {
        "id": "0a", "name": "quick", "specification": experiment().specification(), "final_halt": "ACTIVE",
        "created_at": datetime.now(UTC).isoformat(), "quality_override": None,
        "metrics": {
            "trades": 200, "sharpe_ratio": 1.2, "max_drawdown": -0.1, "win_rate": 0.5, "fees_to_gross_profit": 0.1,
            "probabilistic_sharpe_ratio": 0.9,
        },
    }  # fmt: skip
    backtests_folder(real.results_dir).mkdir(parents=True)
    (backtests_folder(real.results_dir) / "0a.json").write_text(page_text(page))
    assert on(real, confirm=REAL) == Switched("quick", REAL, ())


def test_without_a_gateway_nothing_is_switched_on(settings):
    with pytest.raises(GatewayUnreachableError):
        on(settings.model_copy(update={"ib_port": 1}))
    with open_ledger(settings) as ledger:
        assert ledger.deployments() == {}


def test_bars_that_were_not_judged_switch_nothing_on(settings):
    minutes(settings.data_dir, "AAPL")
    with pytest.raises(PipelineError, match="AAPL: its 1m bars have not been judged"):
        on(settings)


def test_a_name_that_no_order_reference_can_carry_is_refused(settings):
    with pytest.raises(InvalidRequestError, match="must be 1 to 20"):
        on(settings, "a_name_that_is_much_too_long")


def test_a_command_to_nobody_names_those_there_are(settings):
    on(settings)
    with open_ledger(settings) as ledger, pytest.raises(SettingsError, match="'nobody' is not one of quick"):
        give_command(ledger, "nobody", "halt", "", "tester")


def test_the_supervisor_has_nothing_to_do_before_anything_is_switched_on(settings, instance):
    assert supervise_all(instance, settings) == ([], [])


def test_an_open_session_gets_its_run(settings, instance):
    on(settings)
    (request,), reasons = supervise_all(instance, settings)
    assert (request.run_key, reasons) == ("quick:2024-01-08:1", [])
    assert request.tags == {DEPLOYMENT_TAG: "quick", SESSION_TAG: "2024-01-08", ACCOUNT_TAG: ACCOUNT}
    assert request.run_config["ops"]["trade_session"]["config"] == {
        "deployment": "quick", "session": "2024-01-08", "attempt": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    "status",
    [
        dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING,
    ],
)  # fmt: skip
def test_a_run_that_goes_on_is_left_alone(settings, instance, status):
    on(settings)
    run(instance, status)
    assert supervise_all(instance, settings) == ([], ["quick: it runs"])


def test_two_ticks_at_once_ask_for_the_same_run(settings, instance):
    on(settings)
    (first,), _ = supervise_all(instance, settings)
    (second,), _ = supervise_all(instance, settings)
    assert first.run_key == second.run_key  # of which Dagster makes one


def test_a_failed_run_is_followed_by_another_after_a_pause(settings, instance):
    on(settings)
    run(instance, dg.DagsterRunStatus.FAILURE)
    requests, (reason,) = supervise_all(instance, settings)
    assert (requests, reason.startswith("quick: the next attempt is due at")) == ([], True)


def test_no_run_starts_while_somebody_holds_the_account(settings, instance):
    on(settings)
    with open_ledger(settings) as ledger, AccountLock(ledger, ACCOUNT):
        requests, (reason,) = supervise_all(instance, settings)
    assert (requests, "lock is held" in reason) == ([], True)


def test_a_session_that_is_done_is_done(settings, instance):
    on(settings)
    with open_ledger(settings) as ledger:
        scope, now = Scope("quick", ACCOUNT, DAY), datetime.now(UTC)
        ledger.append(scope, SessionStarted(now, "run", 1))
        ledger.append(scope, SessionEnded(now + timedelta(hours=1), "run", 1, "done"))
    assert supervise_all(instance, settings) == ([], ["quick: session 2024-01-08 is done"])


def test_a_deployment_that_is_stopped_gets_no_run(settings, instance):
    on(settings)
    with open_ledger(settings) as ledger:
        give_command(ledger, "quick", "stop_keep", "enough", "tester")
    assert supervise_all(instance, settings) == ([], ["quick: it is switched off"])


def test_a_deployment_that_is_to_be_closed_gets_a_run_until_one_has_answered(settings, instance):
    on(settings)
    with open_ledger(settings) as ledger:
        number = give_command(ledger, "quick", "stop_flatten", "enough", "tester")
        (request,), _ = supervise_all(instance, settings)
        assert request.run_key == "quick:2024-01-08:1"
        ledger.append(Scope("quick", ACCOUNT, DAY), CommandAnswered(datetime.now(UTC), number, "done"))
    assert supervise_all(instance, settings) == ([], ["quick: it is switched off"])
