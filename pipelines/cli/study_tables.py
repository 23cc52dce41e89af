"""Studies as a terminal shows them.

Belongs here: tables of trials, checks, estimates and batches. Does not belong here: computing or loading them.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.cli.tables import print_csv, print_rows, say

if TYPE_CHECKING:
    import pyarrow as pa

    from research.hold_out import HoldOut
    from research.study import Estimate, StudyRecord
    from research.walkforward.files import WalkForwardRecord

_STITCHED = ("total_return", "annual_return", "sharpe_ratio", "max_drawdown")
_BESIDE = ("total_return", "sharpe_ratio", "max_drawdown", "trades", "fees")


def print_study(record: "StudyRecord", *, top: int) -> None:
    """What a study found, what the checks say about it, and where to read on."""
    page = record.page
    say(f"{record.name}: {record.state}, {_counts(page)}")
    _print_best(record, top)
    if page.get("engine_reason"):
        say(f"not on the kernel: {page['engine_reason']}")
    say(f"searched {page['in_sample']['start']} to {page['in_sample']['end']}; {_hold_out(page['hold_out'])}")
    prior = int(page["prior_trials"]["total"])
    say(f"trials ever run on these symbols: {prior + int(page['trials_run']):,}")
    if page["verified"]:
        say(f"{page['verified']} trials run again on Backtrader: identical")
    _print_findings(page["assessment"])
    report = record.folder / "report.html"
    if report.exists():
        say(f"report: {report}")


def print_studies(records: Sequence["StudyRecord"]) -> None:
    """A line a study."""
    from research.metric_catalog import format_number

    rows = [
        [
            record.name, record.state, record.page["trials_run"], " ".join(record.specification.experiment.symbols),
            " ".join(record.specification.objectives),
            None if record.best is None else format_number(record.best["value"]),
        ]
        for record in records
    ]  # fmt: skip
    print_rows(["study", "state", "trials", "symbols", "objective", "best"], rows)


def print_trials_csv(record: "StudyRecord") -> None:
    """Every trial as CSV on stdout: what was varied, its value, its figures."""
    print_csv(trials_table(record))


def write_trials_csv(record: "StudyRecord", path: Path) -> None:
    """The same into a file."""
    table = trials_table(record)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))


def trials_table(record: "StudyRecord") -> "pa.Table":
    """One row a trial: number, state, the varied parameters, value, penalty, reason, figures, engine."""
    import pyarrow as pa

    rows = []
    for trial in record.trials.to_pylist():
        kept = {name: trial[name] for name in ("number", "state", "value", "penalty", "reason", "engine", "seconds")}
        rows.append({**kept, **json.loads(trial["params"]), **json.loads(trial["metrics"])})
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})


def print_estimates(estimates: Sequence["Estimate"]) -> None:
    """What trading will cost at some points of the space; the edge is what a trade must earn before costs."""
    columns = {
        "trades_per_year": "trades a year", "turnover": "turnover a year", "fees_per_year": "fees a year",
        "fees_to_cash": "of the cash", "break_even_edge": "break-even edge", "fees_to_gross_profit": "of gross profit",
    }  # fmt: skip
    fractions = {"fees_to_cash", "break_even_edge", "fees_to_gross_profit"}

    def shown(name: str, value: float | None) -> str:
        if value is None:
            return "unknown"
        return f"{100 * value:.3f} %" if name in fractions else f"{value:,.2f}"

    varied = list(estimates[0].params) if estimates else []
    rows = [
        [*(one.params[name] for name in varied), *(shown(name, getattr(one, name)) for name in columns)]
        for one in estimates
    ]
    print_rows([*varied, *columns.values()], rows)
    for one in estimates:
        if one.reason:
            say(f"{' '.join(f'{name}={value}' for name, value in one.params.items())}: {one.reason}")


def print_batch(table: "pa.Table") -> None:
    """The winner of each study of a batch, and every reason why it does not pass."""
    shown = ("study", "state", "trials", "best_value", "params")
    rows = [
        [*(row[name] for name in shown), "yes" if row["passed"] else "no", " ".join(row["reasons"])]
        for row in table.to_pylist()
    ]
    print_rows(["study", "state", "trials", "best", "parameters", "passes", "reasons"], rows)


def print_hold_out(hold_out: "HoldOut") -> None:
    """What the hold-out showed, and when it was looked at."""
    from research.metric_catalog import METRICS, format_metric

    shown = [(METRICS[n].label, format_metric(n, value)) for n, value in hold_out.metrics.items() if n in METRICS]
    print_rows(["figure", "hold-out"], shown)
    say(hold_out.sentence)


def print_walk_forward(record: "WalkForwardRecord") -> None:
    """A line a window, then the stitched curve and what is left of the search in the tests."""
    from research.metric_catalog import METRICS, format_metric

    rows = [
        [
            row["window"], f"{row['train_start']} to {row['train_end']}", f"{row['test_start']} to {row['test_end']}",
            _varied(row["params"], record.page["drift"]), row["trials"],
            *(_figure(row[name]) for name in ("searched", "tested", "efficiency")),
        ]
        for row in record.windows.to_pylist()
    ]  # fmt: skip
    print_rows(["window", "searched", "tested", "parameters", "trials", "in search", "in test", "efficiency"], rows)
    stitched = [(METRICS[name].label, format_metric(name, record.metrics.get(name))) for name in _STITCHED]
    print_rows(["stitched tests", ""], stitched)
    for name, value in record.summary.items():
        if value is None or isinstance(value, int | float | str):
            say(f"{name.replace('_', ' ')}: {_figure(value)}")
    for note in record.page.get("notes", ()):
        say(note)


def _varied(params: str | None, names: Mapping[str, Any]) -> str:
    """Those of a window's parameters that were searched."""
    found = json.loads(params) if params else {}
    return " ".join(f"{name}={found[name]}" for name in names if name in found)


def _figure(value: object) -> str:
    from research.metric_catalog import UNKNOWN, format_number

    return UNKNOWN if value is None else format_number(value) if isinstance(value, float) else str(value)


def _counts(page: Mapping[str, Any]) -> str:
    told = [f"{count:,} {state}" for state, count in page["counts"].items() if count]
    engines = " and ".join(sorted(page["engines"])) or "nothing yet"
    forbidden = sum(page["forbidden"].values())
    refused = f", {forbidden:,} left out by constraints" if forbidden else ""
    return f"{', '.join(told) or 'no trial'} ({page['sampler']} on {engines}){refused}, {page['seconds']:.1f} s"


def _print_best(record: "StudyRecord", top: int) -> None:
    from research.metric_catalog import METRICS, format_metric

    ranked = _ranked(record)[:top]
    if not ranked:
        say(_without_table(record))
        return
    varied = list(json.loads(ranked[0]["params"]))
    objectives = record.specification.objectives
    beside = [name for name in _BESIDE if name not in objectives]
    rows = []
    for place, trial in enumerate(ranked, 1):
        params, metrics = json.loads(trial["params"]), json.loads(trial["metrics"])
        figures = [format_metric(name, metrics.get(name)) for name in beside]
        values = [f"{value:.6g}" for value in trial["values"]]
        rows.append([place, trial["number"], *(params.get(name) for name in varied), *values, *figures])
    columns = ["rank", "trial", *varied, *objectives, *(METRICS[name].label for name in beside)]
    print_rows(columns, rows)


def _without_table(record: "StudyRecord") -> str:
    """The table of trials is written when a run of the study ends; until then its page knows the best one."""
    best = record.best
    if best is None:
        return "No trial has a value."
    found = " ".join(f"{name}={value}" for name, value in best["params"].items())
    return f"Best so far: {best['value']:.6g}, trial {best['number']} ({found})."


def _ranked(record: "StudyRecord") -> list[dict[str, Any]]:
    """Complete trials with a value, the best first; equal ones in their order."""
    from research.study.report_data import maximised

    sign = -1.0 if maximised(record.specification) else 1.0
    trials = record.trials.select(["number", "state", "value", "values", "params", "metrics"]).to_pylist()
    known = [trial for trial in trials if trial["state"] == "complete" and trial["value"] is not None]
    return sorted(known, key=lambda trial: sign * trial["value"])


def _hold_out(hold_out: Mapping[str, Any] | None) -> str:
    if hold_out is None:
        return "nothing was held out"
    span = f"{hold_out['start']} to {hold_out['end']}"
    if hold_out["looked_at"] is None:
        return f"{span} held out, not looked at"
    return f"{span} held out, looked at on {hold_out['looked_at'][:10]}"


def _print_findings(assessment: Mapping[str, Any] | None) -> None:
    if not assessment:
        return
    from research.overfitting import GRAVITY

    gravest = sorted(assessment["findings"], key=lambda one: GRAVITY.index(one["severity"]))
    rows = [[one["severity"], one["check"], one["sentence"]] for one in gravest]
    print_rows(["", "check", "what it means"], rows)
