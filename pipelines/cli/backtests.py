"""`barloom backtest`, `show`, `compare`, `reproduce`, `check-lookahead`, `verify-engine` and `leaderboard`.

Belongs here: backtests from the terminal. Does not belong here: running or measuring them.
"""

import sys
from collections.abc import Sequence
from datetime import date
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from pipelines.cli.data import publish_catalog
from pipelines.cli.matrix import check_each, run_matrix
from pipelines.cli.portfolios import portfolio_options, print_portfolio, shortlisted
from pipelines.cli.results import print_leaderboard, print_result, print_results
from pipelines.cli.runs import progress_bar, report_failures, unique
from pipelines.cli.tables import print_json, print_rows, say
from pipelines.cli.tracking import check_store, print_tracking
from pipelines.errors import RunFailedError, SettingsError
from pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    import dagster as dg

    from research.experiment import Experiment

EngineName = Literal["auto", "vanilla", "fast", "kernel"]
PortfolioMethod = Literal["equal", "inverse_volatility", "risk_parity"]


def backtest(
    *,
    strategy: Annotated[list[str] | None, Parameter(consume_multiple=True, negative_iterable="")] = None,
    symbols: Annotated[list[str] | None, Parameter(consume_multiple=True, negative_iterable="")] = None,
    start: date | None = None,
    end: date | None = None,
    cash: float = 100_000.0,
    resolution: str = "Daily",
    params: str | None = None,
    params_file: Path | None = None,
    costs: str = "ibkr_fixed",
    benchmark: str | None = None,
    adjust: Literal["all", "splits", "none"] = "all",
    name: str | None = None,
    project: str | None = None,
    asset_class: str | None = None,
    strategy_family: str | None = None,
    team: str | None = None,
    status: Literal["research", "testing", "production", "archived"] = "research",
    experiment: str | None = None,
    rerun: Annotated[bool, Parameter(negative="")] = False,
    engine: EngineName = "auto",
    each: Annotated[bool, Parameter(negative="")] = False,
    workers: int | None = None,
    csv: Annotated[bool, Parameter(negative="")] = False,
    export_csv: Path | None = None,
    mlflow: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run one backtest, or each strategy on each symbol; symbols that the warehouse lacks are downloaded first.

    Args:
        strategy: Dotted path of the strategy class, for example `strategies.sma_crossover.SMACrossover`; several with
            --each.
        symbols: One or more symbols; the first is the strategy's `data`.
        start: First session (YYYY-MM-DD).
        end: Last session.
        cash: Starting cash.
        resolution: Daily, Hour or Minute.
        params: Strategy parameters as JSON, for example '{"sma_short": 10}'.
        params_file: Strategy parameters in a JSON file.
        costs: Cost model: ibkr_fixed, ibkr_tiered or none.
        benchmark: Symbol to compare with; an equal part of each symbol, bought and held, unless given.
        adjust: Price adjustment of the bars.
        name: Name of the experiment; made from strategy and symbols unless given.
        project: Tag of the result.
        asset_class: Tag of the result.
        strategy_family: Tag of the result.
        team: Tag of the result.
        status: Tag of the result.
        experiment: Name of an experiment in `experiments/` to run instead of naming a strategy here.
        rerun: Compute again even when the result is there.
        engine: What runs it: auto, vanilla, fast or kernel. All give the same figures; auto takes the fastest that can.
        each: Run every strategy on every symbol by itself, side by side, and show them in one table.
        workers: Processes for --each; as many as the machine has processors unless given.
        csv: Print the table of --each as CSV.
        export_csv: Write the table of --each to this CSV file.
        mlflow: Track the result in MLflow, filed by the tags.
    """
    check_each(each=each, given={"workers": workers, "csv": csv, "export-csv": export_csv}, strategies=strategy or ())
    if experiment is not None:
        if each:
            raise SettingsError("backtest: --each needs --strategy and --symbols, --experiment names one backtest.")
        return run_experiments([_name_of(experiment)], rerun=rerun, engine=engine, mlflow=mlflow)
    if not strategy or not symbols or start is None or end is None:
        raise SettingsError("backtest: --strategy, --symbols, --start and --end are needed, or --experiment NAME.")
    from pipelines.runs import record_experiment
    from research.engine import strategy_of
    from research.experiment import Experiment

    tags = {
        "project": project, "asset_class": asset_class, "strategy_family": strategy_family, "team": team,
        "status": status,
    }  # fmt: skip
    fields: dict[str, Any] = {
        "start": start, "end": end, "cash": cash,
        "resolution": resolution, "params": read_params(params, params_file), "costs": {"model": costs},
        "benchmark": benchmark, "adjust": adjust, "tags": {key: tag for key, tag in tags.items() if tag is not None},
    }  # fmt: skip
    combinations = list(product(unique(strategy), [[one] for one in unique(symbols)] if each else [unique(symbols)]))
    if name:
        if len(combinations) > 1:
            raise SettingsError(f"backtest: name: {name!r} cannot name {len(combinations)} backtests.")
        fields["name"] = name
    built = [Experiment.build(**fields, strategy=one, symbols=chosen) for one, chosen in combinations]
    for one in built:
        strategy_of(one)  # a misspelt strategy or parameter is refused before anything is written
    if each:
        return run_matrix(
            built,
            load_settings(),
            rerun=rerun,
            engine=engine,
            workers=workers,
            csv=csv,
            export_csv=export_csv,
            mlflow=mlflow,
        )
    return run_experiments([record_experiment(built[0])], rerun=rerun, engine=engine, mlflow=mlflow)


def show(result_id: str, /, *, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> int:
    """Show one backtest: figures, warnings, risk events and files.

    Args:
        result_id: Id of the backtest, or its beginning.
        as_json: Print the stored JSON.
    """
    from research.result import load_result

    results = load_settings().results_dir
    result = load_result(results, result_id)
    if as_json:
        print_json(dict(result.page))
    else:
        print_result(result, results)
    return 0


def compare(
    *result_ids: str,
    portfolio: PortfolioMethod | None = None,
    max_weight: float | None = None,
    min_weight: float | None = None,
    max_positions: int | None = None,
    window: int | None = None,
    in_sample: Annotated[bool, Parameter(negative="")] = False,
    shortlist: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Put the figures and the differing inputs of several backtests side by side, or money into all of them.

    Args:
        result_ids: Two or more ids, or their beginnings.
        portfolio: Divide money among the backtests: equal, inverse_volatility or risk_parity.
        max_weight: Greatest weight of a position; 0.5 unless given.
        min_weight: Least weight of a position; 0.1 unless given.
        max_positions: Positions at most; 3 unless given.
        window: Sessions before each month's end from which weights are estimated; 252 unless given.
        in_sample: Estimate the weights from all sessions, those that are measured included; the page says so.
        shortlist: Take the best of the leaderboard's shortlist instead of ids, as many as positions are allowed.
    """
    from research.compare import compare_results
    from research.result import load_result

    results = load_settings().results_dir
    choices = {
        "maximum": max_weight, "minimum": min_weight, "most": max_positions, "window": window,
        "in_sample": in_sample or None,
    }  # fmt: skip
    options = portfolio_options(portfolio, choices)
    ids = shortlisted(results, options, result_ids) if shortlist else list(result_ids)
    if len(ids) < 2:
        raise SettingsError(f"compare: needs two ids or more, got {len(ids)}.")
    loaded = [load_result(results, result_id) for result_id in ids]
    if options is not None:
        print_portfolio(loaded, options, results)
        return 0
    comparison = compare_results(loaded)
    print_rows(comparison.columns, comparison.rows)
    return 0


def reproduce(result_id: str, /, *, engine: EngineName = "auto") -> int:
    """Run a backtest again from its recorded specification; exit code 1 when something differs.

    Args:
        result_id: Id of the backtest, or its beginning.
        engine: What runs it: auto, vanilla, fast or kernel. It need not be what ran before.
    """
    from pipelines.runs import open_instance, run_proof
    from research.result import load_result

    recorded = load_result(load_settings().results_dir, result_id)
    with open_instance() as instance:
        proof = run_proof(instance, "reproduce", "run_again", {"id": recorded.id, "engine": engine})
    if proof.found is None:
        raise RunFailedError(proof.error or f"run {proof.run_id[:8]} failed.")
    if not proof.found:
        say(f"{recorded.id}: identical")
        return 0
    print_rows(["what", "recorded", "now"], proof.found)
    return 1


def check_lookahead(*, experiment: str, cuts: int = 12, seed: int = 0, engine: EngineName = "auto") -> int:
    """Prove that a strategy sees only closed bars; exit code 1 when it peeks.

    The backtest is replayed on data that ends at many points; every decision up to there must be the same.

    Args:
        experiment: Name of an experiment, or the path of its YAML file.
        cuts: How many points to cut at.
        seed: Chooses the points.
        engine: What runs the replays: auto, vanilla, fast or kernel.
    """
    from pipelines.runs import open_instance, run_proof

    settings = load_settings()
    name = _name_of(experiment)
    with open_instance() as instance:
        code = download_missing(instance, [_load(name, settings)], settings)
        if code:
            return code
        config = {"experiment": name, "cuts": cuts, "seed": seed, "engine": engine}
        proof = run_proof(instance, "check_lookahead", "replay_shortened", config)
    report = proof.found
    if report is None:
        raise RunFailedError(proof.error or f"run {proof.run_id[:8]} failed.")
    tried = f"{len(report.cuts)} cuts, {report.cuts_on_decisions} of them on decisions"
    if report.clean:
        say(f"{name}: no look-ahead found at {tried}")
        return 0
    print_rows(["cut (UTC)", "what", "difference"], [(f.cut, f.what, f.detail) for f in report.findings])
    sys.stderr.write(f"{name}: decisions change when the future is taken away ({tried})\n")
    return 1


def verify_engine(experiment: str, /) -> int:
    """Run an experiment on every engine; exit code 1 when one comes to something else than Backtrader's own loop.

    Every table and figure is compared bit for bit.

    Args:
        experiment: Name of an experiment, or the path of its YAML file.
    """
    from pipelines.runs import open_instance, run_proof

    settings = load_settings()
    name = _name_of(experiment)
    with open_instance() as instance:
        code = download_missing(instance, [_load(name, settings)], settings)
        if code:
            return code
        proof = run_proof(instance, "verify_engine", "run_engines", {"experiment": name})
    if proof.found is None:
        raise RunFailedError(proof.error or f"run {proof.run_id[:8]} failed.")
    rows = [(run.engine, "" if run.seconds is None else f"{run.seconds:.3f}", run.verdict) for run in proof.found]
    print_rows(["engine", "seconds", "result"], rows)
    return int(any(run.difference is not None for run in proof.found))


def leaderboard() -> int:
    """Rank the latest backtest of every experiment and the best trial of every study."""
    from pipelines.resources import default_resources
    from pipelines.runs import materialize_leaderboard, open_instance

    default_resources(load_settings())["research"].ranking()  # a wrong file is refused before anything runs
    with open_instance() as instance, progress_bar("leaderboard", 1) as move:
        outcome = materialize_leaderboard(instance, on_progress=move)
    if outcome.success:
        print_leaderboard(load_settings().results_dir)
    return report_failures(outcome)


def run_experiments(
    names: Sequence[str], *, rerun: bool = False, engine: EngineName = "auto", mlflow: bool = False
) -> int:
    """Materialise experiments by name, print their figures against buy-and-hold and where the files are."""
    from pipelines.runs import materialize_experiments, open_instance
    from research.result import load_result

    settings = load_settings()
    if mlflow:
        check_store(settings)
    with open_instance() as instance:
        code = download_missing(instance, [_load(name, settings) for name in names], settings)
        if code:
            return code
        with progress_bar("backtests", len(names)) as move:
            config = {"rerun": rerun, "engine": engine, "mlflow": mlflow}
            outcome = materialize_experiments(instance, names, config=config, on_progress=move)
    publish_catalog(settings)
    ids = [step.facts["id"] for step in outcome.progress if "id" in step.facts]
    if ids:
        print_results([load_result(settings.results_dir, backtest_id) for backtest_id in ids], settings.results_dir)
    print_tracking(outcome)
    code = report_failures(outcome)
    asked_too_much = any(sentence.startswith(f"engine: {engine} ") for sentence in outcome.failures.values())
    return 2 if asked_too_much else code


def download_missing(instance: "dg.DagsterInstance", experiments: Sequence["Experiment"], settings: Settings) -> int:
    """Bring the symbols that the warehouse does not know yet from source to quality report; the exit code."""
    from pipelines.keys import SYMBOL_ASSETS
    from pipelines.runs import materialize_symbols
    from warehouse.store import Warehouse

    warehouse = Warehouse(settings.data_dir)
    for resolution in dict.fromkeys(experiment.resolution for experiment in experiments):
        asked = [experiment for experiment in experiments if experiment.resolution == resolution]
        symbols = unique([symbol for one in asked for symbol in (*one.symbols, *filter(None, [one.benchmark]))])
        known = set(warehouse.symbols(resolution))
        missing = [symbol for symbol in symbols if symbol not in known]
        if not missing:
            continue
        with progress_bar("download", len(SYMBOL_ASSETS) * len(missing)) as move:
            outcome = materialize_symbols(instance, SYMBOL_ASSETS, missing, resolution, on_progress=move)
        if not outcome.success:
            return report_failures(outcome)
    return 0


def read_params(text: str | None, path: Path | None) -> dict[str, Any]:
    """Strategy parameters from the command line; given there, they overrule the file's."""
    from pipelines.research_assets import json_object

    from_file = json_object(path.read_text(encoding="utf-8"), f"params-file {path}") if path else {}
    return {**from_file, **(json_object(text, "params") if text else {})}


def _load(experiment: str, settings: Settings) -> "Experiment":
    """An experiment by name or by path."""
    from pipelines.resources import default_resources
    from research.experiment import load_experiment

    path = Path(experiment)
    if path.suffix in (".yaml", ".yml"):
        return load_experiment(path)
    loaded: Experiment = default_resources(settings)["research"].load(experiment)
    return loaded


def _name_of(experiment: str) -> str:
    """The partition of an experiment given by name or by path; a file elsewhere is recorded first."""
    from pipelines.resources import default_resources
    from pipelines.runs import record_experiment

    settings = load_settings()
    path = Path(experiment)
    if path.suffix not in (".yaml", ".yml"):
        return experiment
    known = default_resources(settings)["research"].experiments().get(path.stem)
    if known is not None and known.resolve() == path.resolve():
        return path.stem
    return record_experiment(_load(experiment, settings), settings)
