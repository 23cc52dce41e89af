"""What computes waits for a place in its pool; a session that is to be traded never waits behind it."""

import shutil
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.op_concurrency_limits_counter import GlobalOpConcurrencyLimitsCounter

from pipelines.definitions import build_defs
from pipelines.keys import COMPUTING
from pipelines.live_definitions import JOB
from pipelines.live_definitions import defs as live
from pipelines.runs import open_instance
from pipelines.settings import Settings

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[3]
GOING, NEW = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.NOT_STARTED


@pytest.fixture
def instance(tmp_path, monkeypatch):
    """The instance of a project folder, as its `dagster.yaml` says."""
    shutil.copy(REPOSITORY / "dagster.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with open_instance() as made:
        yield made


@pytest.fixture
def proof(instance):
    """Creates runs that compute."""
    job = build_defs(Settings()).resolve_job_def("check_lookahead")
    config = {"ops": {"replay_shortened": {"config": {"experiment": "sma_aapl"}}}}
    return lambda status: instance.create_run_for_job(job, run_config=config, status=status)


@pytest.fixture
def session(instance):
    """Creates a run that trades."""
    job = live.resolve_job_def(JOB)
    config = {"ops": {"trade_session": {"config": {"deployment": "a", "session": "2024-01-08", "attempt": 1}}}}
    return lambda: instance.create_run_for_job(job, run_config=config, status=NEW)


def waits(instance, run):
    """Whether the run queue would hold a run back, as Dagster's daemon asks."""
    events, limits = instance.event_log_storage, instance.get_concurrency_config()
    counter = GlobalOpConcurrencyLimitsCounter(
        instance, [run], instance.get_run_records(dg.RunsFilter(statuses=[GOING])),
        concurrency_keys=events.get_concurrency_keys(), pool_limits=events.get_pool_limits(),
        pool_granularity=limits.pool_config.pool_granularity,
    )  # fmt: skip
    return counter.is_blocked(run)


def test_a_third_computation_waits_for_the_two_that_go_on(instance, proof):
    instance.event_log_storage.initialize_concurrency_limit_to_default(COMPUTING)
    proof(GOING)
    assert not waits(instance, proof(NEW))
    proof(GOING)
    assert waits(instance, proof(NEW))


def test_a_session_waits_for_no_computation(instance, proof, session):
    for _ in range(3):
        proof(GOING)
    assert not waits(instance, session())


@pytest.mark.parametrize("file", ["dagster.yaml", "docker/dagster.yaml"])
def test_the_queue_has_room_for_sessions_beside_what_computes(file):
    limits = yaml.safe_load((REPOSITORY / file).read_text())["concurrency"]
    assert limits["runs"]["max_concurrent_runs"] >= 5 * limits["pools"]["default_limit"]


def test_every_asset_and_proof_is_in_the_pool_and_trading_in_none():
    nodes = [node for job in build_defs(Settings()).resolve_all_job_defs() for node in job.nodes]
    free = {node.name for node in nodes if node.definition.pool != COMPUTING}
    assert free == {"require_clean", "require_identical", "require_same"}
    assert [node.definition.pool for node in live.resolve_job_def(JOB).nodes] == [None]
