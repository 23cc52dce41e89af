"""Whether the latest backtest of an experiment speaks for trading it.

Belongs here: the reasons against. Does not belong here: who may be overruled by them (see `pipelines.deployments`), the
bars that warm a strategy up, the search that an experiment came from (see `research.promotion`).
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from research.experiment import Experiment
from research.leaderboard import failed_gates
from research.ranking import Gates
from research.result import latest_pages
from risk.states import HaltState

FRESH: Final = timedelta(days=35)
"""Age from which on a backtest is old."""


def reasons_against(experiment: Experiment, results_dir: Path, gates: Gates, now: datetime) -> tuple[str, ...]:
    """Sentences that say why its backtest does not speak for trading an experiment; none where it does.

    Args:
        experiment: what is to be traded.
        results_dir: where backtests are kept.
        gates: what a backtest has to show.
        now: aware.
    """
    name = experiment.name
    page = next((page for page in latest_pages(results_dir) if page["name"] == name), None)
    if page is None:
        return (f"{name} has no backtest; run `barloom backtest --experiment {name}`.",)
    return tuple(_reasons(experiment, page, gates, now))


def _reasons(experiment: Experiment, page: dict[str, Any], gates: Gates, now: datetime) -> Iterator[str]:
    latest = f"the latest backtest of {experiment.name}"
    if page["specification"] != experiment.specification():
        yield f"{latest} is of another specification."
    if now - datetime.fromisoformat(page["created_at"]) > FRESH:
        yield f"{latest} is older than {FRESH.days} days."
    if page["quality_override"]:
        yield f"{latest} used bars with a quality ERROR."
    if page["final_halt"] != HaltState.ACTIVE:
        yield f"{latest} ended halted: {page['final_halt']}."
    failed = failed_gates(page["metrics"], gates)
    if failed:
        yield f"{latest} does not pass: {'; '.join(failed)}."
