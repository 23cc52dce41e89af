"""Backtests as a terminal shows them.

Belongs here: tables of figures, warnings and file paths. Does not belong here: computing or loading them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.cli.tables import print_rows, say

if TYPE_CHECKING:
    from research.result import BacktestResult

_HEADLINES = {
    "total_return": "return", "annual_return": "CAGR", "sharpe_ratio": "Sharpe", "sortino_ratio": "Sortino",
    "max_drawdown": "max DD", "trades": "trades", "win_rate": "wins", "fees": "fees",
}  # fmt: skip
_RANKED = ("total_return", "annual_return", "sharpe_ratio", "max_drawdown", "trades")
_STATISTICS = {
    "probabilistic_sharpe_ratio": "PSR", "deflated_sharpe_ratio": "DSR", "probability_of_backtest_overfitting": "PBO",
    "trials": "study trials", "trials_on_symbols": "trials ever",
}  # fmt: skip
_EVENTS_SHOWN = 10


def print_results(results: Sequence["BacktestResult"], results_dir: Path) -> None:
    """Headline figures of each backtest above those of buying and holding its symbols, then warnings and files."""
    from research.metric_catalog import format_metric

    rows = []
    for result in results:
        held = result.page["buy_and_hold"]
        figures = [format_metric(key, result.metrics.get(key)) for key in _HEADLINES]
        rows.append([result.name, *figures])
        rows.append([" buy and hold", *(format_metric(key, held[key]) if key in held else "" for key in _HEADLINES)])
    print_rows(["backtest", *_HEADLINES.values()], rows)
    for result in results:
        say(f"{result.name}: engine {result.engine}")
        _print_remarks(result)
    for result in results:
        _print_files(result, results_dir)


def print_result(result: "BacktestResult", results_dir: Path) -> None:
    """Everything a person asks of one backtest."""
    from research.metric_catalog import METRICS, format_metric

    say(f"{result.name}  {result.id}")
    say(f"engine: {result.engine}")
    held = result.page["buy_and_hold"]
    print_rows(
        ["figure", "strategy", "buy and hold"],
        [
            (METRICS[key].label, format_metric(key, value), format_metric(key, held[key]) if key in held else "")
            for key, value in result.metrics.items()
        ],
    )
    _print_events(result)
    _print_remarks(result)
    _print_files(result, results_dir)


def print_leaderboard(results_dir: Path) -> None:
    """The ranking as it was made; why a gate failed is said, not only that it did.

    Every part of the score has its column. The statistics of studies are shown when one of them is known.
    """
    from research.leaderboard import LEADERBOARD_SCHEMA, leaderboard_file
    from research.metric_catalog import format_metric
    from research.ranking import Weights
    from warehouse.files import read_parquet

    ranked = read_parquet(leaderboard_file(results_dir), LEADERBOARD_SCHEMA).to_pylist()
    parts = list(Weights.model_fields)
    known = {key: title for key, title in _STATISTICS.items() if any(row[key] is not None for row in ranked)}
    rows = [
        [
            row["rank"],
            row["name"],
            f"{row['score']:.1f}",
            *(f"{row[f'score_{part}']:.1f}" for part in parts),
            *(format_metric(key, row[key]) for key in _RANKED),
            *(_statistic(row[key]) for key in known),
        ]
        for row in ranked
    ]
    titles = ["", "backtest or study", "score", *parts, *(_HEADLINES[key] for key in _RANKED), *known.values()]
    print_rows(titles, rows, title="Leaderboard")
    for row in ranked:
        gates = "; ".join(row["failed"]) or "passes every gate"
        place = f"not on the shortlist: {row['left_out']}" if row["left_out"] else "on the shortlist"
        say(f"{row['name']}: {gates}; {place}")
        for remark in row["remarks"]:
            say(f"{row['name']}: {remark}")


def _statistic(value: float | None) -> str:
    """A probability or a number of trials."""
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else f"{100 * value:.1f} %"


def _print_events(result: "BacktestResult") -> None:
    events = result.page["risk_events"]
    if not events["count"]:
        return
    say(f"Risk events: {events['count']}, final state {result.page['final_halt']}")
    shown = events["events"][:_EVENTS_SHOWN]
    print_rows(
        ["when (UTC)", "kind", "limit", "reason"], [(e["ts"], e["kind"], e["limit"], e["reason"]) for e in shown]
    )


def _print_remarks(result: "BacktestResult") -> None:
    for warning in result.warnings:
        say(f"{result.name}: {warning}")


def _print_files(result: "BacktestResult", results_dir: Path) -> None:
    from research.result import backtests_folder, result_folder

    folder = result_folder(results_dir, result.id)
    files = [path for path in (folder / "tearsheet.html", folder / "chart.html") if path.exists()]
    for path in [backtests_folder(results_dir) / f"{result.id}.json", *files]:
        say(f"{result.name}: {path}")
