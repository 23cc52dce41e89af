"""The jobs that prove a backtest: shortened histories, a second run of what is recorded, and every engine.

Belongs here: the jobs, for the command line and the launchpad alike; a run fails when the proof fails. Does not belong
here: replaying and comparing (see `research.lookahead`, `research.reproduce`, `research.engine.verify`).
"""

from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.keys import COMPUTING
from pipelines.resources import ResearchResource, WarehouseResource


class LookaheadConfig(dg.Config):
    """Which experiment, and how hard to look."""

    experiment: str = Field(description="Name of an experiment: the stem of its YAML file.")
    cuts: int = Field(default=12, description="How many shortened histories to replay.")
    seed: int = Field(default=0, description="Chooses the points to cut at.")
    engine: str = Field(default="auto", description="auto, vanilla, fast or kernel.")


class ReproduceConfig(dg.Config):
    """Which result, and what runs it again."""

    id: str = Field(description="Id of a backtest, or its beginning.")
    engine: str = Field(default="auto", description="auto, vanilla, fast or kernel.")


class EnginesConfig(dg.Config):
    """Which experiment."""

    experiment: str = Field(description="Name of an experiment: the stem of its YAML file.")


@dg.op(
    out=dg.Out(Any),
    pool=COMPUTING,
    description="Replay the experiment on shortened histories and compare every decision.",
)
def replay_shortened(
    context: dg.OpExecutionContext,
    config: LookaheadConfig,
    warehouse: dg.ResourceParam[WarehouseResource],
    research: dg.ResourceParam[ResearchResource],
) -> Any:  # noqa: ANN401 - Dagster would import the type to check it
    """A `LookaheadReport`."""
    from pipelines.backtesting import read_inputs
    from research.engine import engine_named
    from research.lookahead import check_lookahead

    experiment = research.load(config.experiment)
    inputs = read_inputs(warehouse.open(), experiment)
    engine = engine_named(config.engine)
    report = check_lookahead(experiment, inputs.bars, cuts=config.cuts, seed=config.seed, engine=engine)
    context.add_output_metadata({"cuts": len(report.cuts), "cuts_on_decisions": report.cuts_on_decisions})
    return report


@dg.op(description="Fail the run when a decision changed.")
def require_clean(report: Any) -> None:  # noqa: ANN401
    """Raise what was found first."""
    if not report.clean:
        first = report.findings[0]
        raise dg.Failure(f"Look-ahead at {len(report.findings)} cuts, first at {first.cut:%Y-%m-%d}: {first.detail}")


@dg.op(
    out=dg.Out(Any),
    pool=COMPUTING,
    description="Run the recorded specification again and compare with what is recorded.",
)
def run_again(
    context: dg.OpExecutionContext,
    config: ReproduceConfig,
    warehouse: dg.ResourceParam[WarehouseResource],
    research: dg.ResourceParam[ResearchResource],
) -> Any:  # noqa: ANN401
    """A list of `Difference`."""
    from pipelines.backtesting import read_inputs
    from research.engine import engine_named
    from research.experiment import Experiment
    from research.reproduce import reproduce_result
    from research.result import load_result

    recorded = load_result(research.results, config.id)
    experiment = Experiment.parse(recorded.specification, origin=f"result {recorded.id}")
    differences = reproduce_result(
        recorded, read_inputs(warehouse.open(), experiment), engine=engine_named(config.engine)
    )
    context.add_output_metadata({"id": recorded.id, "differences": len(differences)})
    return differences


@dg.op(description="Fail the run when something differs.")
def require_identical(differences: Any) -> None:  # noqa: ANN401
    """Raise what differs first."""
    if differences:
        first = differences[0]
        raise dg.Failure(f"{len(differences)} differences, first {first.what}: {first.recorded} was, {first.now} is.")


@dg.op(
    out=dg.Out(Any),
    pool=COMPUTING,
    description="Run the experiment on every engine and compare with Backtrader's own loop.",
)
def run_engines(
    context: dg.OpExecutionContext,
    config: EnginesConfig,
    warehouse: dg.ResourceParam[WarehouseResource],
    research: dg.ResourceParam[ResearchResource],
) -> Any:  # noqa: ANN401
    """A list of `EngineRun`."""
    from pipelines.backtesting import read_inputs
    from research.engine.verify import verify_engines

    experiment = research.load(config.experiment)
    runs = verify_engines(experiment, read_inputs(warehouse.open(), experiment).bars)
    context.add_output_metadata({run.engine: run.verdict for run in runs})
    return runs


@dg.op(description="Fail the run when an engine came to something else.")
def require_same(runs: Any) -> None:  # noqa: ANN401
    """Raise what the first such engine came to."""
    for run in runs:
        if run.difference is not None:
            raise dg.Failure(f"{run.engine}: {run.verdict}")


@dg.job(description="Prove that an experiment sees closed bars only.")
def check_lookahead() -> None:
    """Replay, then judge."""
    require_clean(replay_shortened())


@dg.job(description="Prove that a result comes out again.")
def reproduce() -> None:
    """Run again, then judge."""
    require_identical(run_again())


@dg.job(description="Prove that every engine gives an experiment the same result.")
def verify_engine() -> None:
    """Run all, then judge."""
    require_same(run_engines())


def proof_jobs() -> list[dg.JobDefinition]:
    """All of them."""
    return [check_lookahead, reproduce, verify_engine]
