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
    """The ranking; why a gate failed is said, not only that it did."""
    from research.leaderboard import build_leaderboard
    from research.metric_catalog import format_metric

    ranked = build_leaderboard(results_dir).to_pylist()
    rows = [
        [row["rank"], row["name"], f"{row['score']:.1f}", *(format_metric(key, row[key]) for key in _RANKED)]
        for row in ranked
    ]
    print_rows(["", "backtest", "score", *(_HEADLINES[key] for key in _RANKED)], rows, title="Leaderboard")
    for row in ranked:
        say(f"{row['name']}: {'; '.join(row['failed']) or 'passes every gate'}")


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
