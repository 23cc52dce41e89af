"""The assets of research: backtests of experiments, and the leaderboard.

Belongs here: thin asset bodies and what they show. Does not belong here: running and measuring (see `backtesting`),
bars (see `assets`).
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from pipelines.assets import OWNERS
from pipelines.automation import FOLLOW_CHANGED_INPUTS, FOLLOW_UPDATED_INPUTS
from pipelines.errors import PipelineError
from pipelines.fanout import Done, Events, fan_out
from pipelines.keys import BACKTESTS, COMPUTING, LEADERBOARD, NO_VALUE, STUDIES, symbol_asset_key
from pipelines.metadata import figures_table, file_link, records_table, sparkline
from pipelines.partitions import experiment_partitions
from pipelines.prefixes import PREFIXES
from pipelines.resources import ResearchResource, WarehouseResource
from pipelines.stamps import version_of

if TYPE_CHECKING:
    from research.experiment import Experiment
    from research.result import BacktestResult

_HEADLINES = (
    "total_return", "annual_return", "sharpe_ratio", "sortino_ratio", "max_drawdown", "trades", "win_rate", "fees",
)  # fmt: skip


_RANKING = (
    "rank", "kind", "name", "score", "passed", "left_out", "total_return", "buy_and_hold", "sharpe_ratio",
    "max_drawdown", "trades", "fees",
    "probabilistic_sharpe_ratio", "deflated_sharpe_ratio", "probability_of_backtest_overfitting", "trials_on_symbols",
)  # fmt: skip
"""What the UI shows of the leaderboard; the file holds the rest."""


class BacktestConfig(dg.Config):
    """What one run may change; the defaults run the experiment as its file says."""

    rerun: bool = Field(
        default=False, description="Compute again even when a result of exactly these inputs is stored."
    )
    tearsheet: bool = Field(
        default=True, description="Write the tear sheet (HTML, takes some seconds) with the result."
    )
    start: str = Field(default="", description="First session, YYYY-MM-DD, instead of the experiment's.")
    end: str = Field(default="", description="Last session, YYYY-MM-DD, instead of the experiment's.")
    cash: float = Field(default=0.0, ge=0, description="Starting cash instead of the experiment's; 0 keeps it.")
    cost_model: str = Field(
        default="", description="Cost model instead of the experiment's: ibkr_fixed, ibkr_tiered or none."
    )
    params: str = Field(
        default="", description='Strategy parameters as JSON, laid over the experiment\'s: {"sma_short": 10}.'
    )
    allow_quality_errors: str = Field(
        default="", description="Reason for using bars in spite of a quality ERROR; recorded in the result."
    )
    engine: str = Field(
        default="auto",
        description="auto, vanilla, fast or kernel. All give the same figures; auto takes the fastest that can. A "
        "stored result of another engine than the one named is computed again.",
    )
    workers: int = Field(
        default=1, ge=1, description="Processes that run the run's experiments side by side; the results are the same."
    )
    mlflow: bool = Field(default=False, description="Track the result in MLflow (BARLOOM_MLFLOW_URI).")

    def applied_to(self, experiment: "Experiment") -> "Experiment":
        """The experiment with this configuration laid over it, validated again.

        Raises:
            ExperimentError: a value does not fit.
            PipelineError: `params` is not a JSON object.
        """
        changes: dict[str, Any] = {
            name: value for name in ("start", "end", "cash", "allow_quality_errors") if (value := getattr(self, name))
        }
        if self.cost_model:
            changes["costs"] = {**experiment.costs.model_dump(), "model": self.cost_model}
        if self.params:
            changes["params"] = {**experiment.params, **json_object(self.params, "params")}
        if not changes:
            return experiment
        return type(experiment).parse({**experiment.model_dump(), **changes}, origin="run configuration")


def json_object(text: str, origin: str) -> dict[str, Any]:
    """A JSON object that a person wrote; `origin` opens the error sentence.

    Raises:
        PipelineError: it is not valid JSON, or not an object.
    """
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise PipelineError(f"{origin}: {text.strip()[:80]!r} is not a JSON object.")
    return value


EXPERIMENT_BARS = [
    dg.AssetDep(symbol_asset_key(name, resolution), partition_mapping=dg.AllPartitionMapping())
    for resolution in PREFIXES
    for name in ("clean_bars", "quality_report")
]
"""Dagster cannot know which symbols an experiment names, so every symbol counts as an input of every experiment;
one whose own bars did not change is found unchanged by its id and costs nothing."""


@dg.asset(
    key=BACKTESTS,
    pool=COMPUTING,
    deps=EXPERIMENT_BARS,
    partitions_def=experiment_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    dagster_type=NO_VALUE,
    group_name="research",
    owners=OWNERS,
    kinds={"python", "json"},
    code_version="1",
    automation_condition=FOLLOW_CHANGED_INPUTS,
    description="Result of each experiment: figures against buy-and-hold, orders, fills, trades, equity, tear sheet. "
    "Its id is a hash of specification, bars and code, so a result that stands is not computed again. Bars with a "
    "quality ERROR are refused unless the experiment records why they may be used.",
)
def backtest_results(
    context: dg.AssetExecutionContext,
    config: BacktestConfig,
    warehouse: dg.ResourceParam[WarehouseResource],
    research: dg.ResourceParam[ResearchResource],
) -> Events:
    """Run the experiments of the run's partitions, one after the other or in processes: threads would not help."""
    from pipelines.backtesting import CHART, PAGES, BacktestOrder, order_takers
    from pipelines.tracking import backtest_tracker
    from research.engine import engine_named

    tracker = backtest_tracker(research.results, context.run.run_id) if config.mlflow else None
    workers = min(config.workers, len(context.partition_keys))
    with order_takers(workers) as carry_out:

        def backtest(key: str) -> Done:
            order = BacktestOrder(
                experiment=config.applied_to(research.load(key)),
                data_dir=Path(warehouse.data_dir),
                results=research.results,
                engine=engine_named(config.engine),
                rerun=config.rerun,
                pages=PAGES if config.tearsheet else (CHART,),
            )
            carried = carry_out(order)
            facts = result_facts(carried.result, research.results)
            if tracker:
                facts |= tracker.facts(carried.result)
            return Done(carried.result.id, facts, unchanged=carried.unchanged)

        yield from fan_out(context, backtest, workers=workers)


def result_facts(result: "BacktestResult", results: Path) -> dict[str, Any]:
    """Headline figures as numbers, all figures as a table, the equity curve, and links to the files."""
    from research.metric_catalog import METRICS, format_metric
    from research.result import backtests_folder, result_folder

    figures = {METRICS[key].label: format_metric(key, value) for key, value in result.metrics.items() if key in METRICS}
    headlines = {key: result.metrics[key] for key in _HEADLINES if result.metrics.get(key) is not None}
    folder = result_folder(results, result.id)
    files = {
        name: file_link(folder / f"{name}.html")
        for name in ("tearsheet", "chart")
        if (folder / f"{name}.html").exists()
    }
    return {
        "equity": sparkline(result.tables["equity"]["equity"].to_numpy(), label="equity", height=90),
        **files,
        **headlines,
        "figures": figures_table(figures),
        "id": result.id,
        "engine": result.engine,
        "warnings": dg.MetadataValue.md("\n".join(f"- {warning}" for warning in result.warnings) or "none"),
        "code_version": str(result.page["code_version"]),
        "data_versions": dg.MetadataValue.json(dict(result.page["data_versions"])),
        "result": file_link(backtests_folder(results) / f"{result.id}.json"),
    }


@dg.asset(
    key=LEADERBOARD,
    pool=COMPUTING,
    deps=[BACKTESTS, STUDIES],
    group_name="research",
    owners=OWNERS,
    kinds={"python", "parquet"},
    code_version="1",
    automation_condition=FOLLOW_UPDATED_INPUTS,
    description="The latest result of every experiment and the best trial of every study, ranked by Sharpe, "
    "consistency, drawdown control, trade frequency and capital efficiency, with the statistics of the studies.",
)
def leaderboard(research: dg.ResourceParam[ResearchResource]) -> dg.MaterializeResult[None]:
    """Rank what is in the results folder."""
    from research.leaderboard import build_leaderboard, write_leaderboard

    table = build_leaderboard(research.results, research.ranking())
    path = write_leaderboard(table, research.results)
    rows = table.to_pylist()
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version_of(repr(row) for row in rows)),
        metadata={
            "dagster/row_count": len(rows),
            "ranking": records_table(rows[:50], _RANKING),
            "file": file_link(path),
        },
    )


def research_assets() -> list[dg.AssetsDefinition]:
    """Both."""
    return [backtest_results, leaderboard]
