"""Several backtests side by side: what they found, and what was different going in.

Belongs here: lining up figures and specifications. Does not belong here: judging which one is better
(`research.leaderboard`), running again (`research.reproduce`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from research.candidates import returns_by_session
from research.errors import ResearchError
from research.metric_catalog import METRICS, UNKNOWN, format_metric
from research.result import BacktestResult
from research.shortlist import correlation_of


@dataclass(frozen=True, slots=True)
class Comparison:
    """A table for people: one column a result.

    Attributes:
        columns: `figure`, then the name and short id of each result.
        rows: figures (unknown ones say so), then every input that differs (`specification.params.fast`), then the
            correlation of daily returns with the first result's.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def compare_results(results: Sequence[BacktestResult]) -> Comparison:
    """Line up at least two results.

    Raises:
        ResearchError: fewer than two different ones.
    """
    if len({result.id for result in results}) < 2:
        raise ResearchError(f"compare: needs two different backtests or more, got {len(results)} ids of one.")
    columns = ("figure", *(f"{result.name} {result.id[:8]}" for result in results))
    return Comparison(columns, (*_figure_rows(results), *_input_rows(results), _correlation_row(results)))


def _figure_rows(results: Sequence[BacktestResult]) -> Iterator[tuple[str, ...]]:
    for key, info in METRICS.items():
        yield (info.label, *(format_metric(key, result.metrics.get(key)) for result in results))


def _input_rows(results: Sequence[BacktestResult]) -> Iterator[tuple[str, ...]]:
    inputs = [flatten({key: result.page[key] for key in _INPUTS}) for result in results]
    for path in dict.fromkeys(key for one in inputs for key in one):
        values = [one.get(path, "-") for one in inputs]
        if any(value != values[0] for value in values):
            yield (path, *(str(value) for value in values))


_INPUTS = ("specification", "data_versions", "code_version")


def flatten(value: object, path: str = "") -> dict[str, Any]:
    """Nested mappings and lists as dotted paths to their leaves; an empty one is a leaf."""
    if isinstance(value, Mapping) and value:
        return {k: v for key, item in value.items() for k, v in flatten(item, f"{path}.{key}" if path else key).items()}
    if isinstance(value, list) and value:
        return {k: v for at, item in enumerate(value) for k, v in flatten(item, f"{path}.{at}").items()}
    return {path: value}


def correlation(one: BacktestResult, other: BacktestResult) -> float | None:
    """Of daily returns on shared sessions; None with fewer than 3 of them or when one does not vary."""
    mine, theirs = (returns_by_session(result.tables["daily"]) for result in (one, other))
    return correlation_of(mine, theirs, fewest_sessions=3)


def _correlation_row(results: Sequence[BacktestResult]) -> tuple[str, ...]:
    values = [correlation(results[0], result) for result in results]
    return ("Correlation with the first", *(UNKNOWN if value is None else f"{value:.2f}" for value in values))
