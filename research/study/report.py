"""The report of a study: one HTML page that needs no network and no other file.

Belongs here: the page's content and its sentences. Does not belong here: drawing (see `report_figures`), statistics
(`research.overfitting`), any formula.

What was not measured is shown as "not measured", with what would measure it; nothing stands in its place.
"""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from html import escape
from typing import Any

from research.metric_catalog import METRICS, UNKNOWN, format_metric, format_number
from research.plotly_page import alerts, beside, cards, header, page_html, plot_card, table_card, text_card
from research.study import report_figures as draw
from research.study.importance import FEWEST_TRIALS, importances, two_most
from research.study.report_view import COMPLETE, NOT_MEASURED, Finding, StudyView, TrialView

_SHOWN_TRIALS = 10
_MOST_AXES = 8
_TABLE_METRICS = ("total_return", "sharpe_ratio", "max_drawdown", "trades", "fees")


def study_html(view: StudyView) -> str:
    """The page as text; the same study gives the same text."""
    shares = importances(view.known, view.varied())
    return page_html(
        f"{view.name} study",
        (
            header(view.name, ("study", *view.facts)),
            alerts(_alerts(view)),
            f'<p class="card lead">{escape(headline(view))}</p>',
            cards(_cards(view)),
            _checks(view),
            _statistics(view),
            _search(view, shares),
            _parallel(view, shares),
            _out_of_sample(view),
            beside(_hold_out(view), _walk_summary(view)),
            _folds(view),
            _windows(view),
            _trials(view),
            _provenance(view),
        ),
    )


def headline(view: StudyView) -> str:
    """What the study found and what its checks say of it, in two sentences."""
    best = view.best_trial
    if best is None:
        return f"None of {len(view.trials)} trials has a value of {view.objective}, so the study has no best one."
    found = (
        f"Trial {best.number} ({_params(best, view.varied())}) has the best {view.objective} of {len(view.known):,} "
        f"trials: {_number(best.value)}."
    )
    if view.findings is None:
        return f"{found} The study was not assessed: nothing says yet whether that is more than luck."
    if not view.findings:
        return f"{found} The assessment made no check."
    return f"{found} {_verdicts(view.findings)}"


def _verdicts(findings: Sequence[Finding]) -> str:
    """What failed first; that nothing did is only said where everything was measured."""
    failed, warned, unknown = (_named(findings, kind) for kind in ("error", "warn", "none"))
    clauses = [
        *([f"{', '.join(failed)} failed"] if failed else []),
        *([f"{', '.join(warned)} warned"] if warned else []),
        *([f"{', '.join(unknown)} could not be measured"] if unknown else []),
    ]
    if not clauses:
        return "Every check passed."
    return f"{'It does not stand up: ' if failed else 'No check failed, '}{', '.join(clauses)}."


def _named(findings: Sequence[Finding], severity: str) -> list[str]:
    return [_title(one.check) for one in findings if _verdict(one.severity)[0] == severity]


def _alerts(view: StudyView) -> Iterator[str]:
    for one in view.findings or ():
        if _verdict(one.severity)[0] == "error":
            yield one.sentence
    if view.trials_since:
        yield f"{view.trials_since} trials were run after the assessment, which does not count them."
    lost = sum(trial.state not in (COMPLETE, "pruned") for trial in view.trials)
    if lost:
        yield f"{lost} of {len(view.trials)} trials failed and have no value."


def _cards(view: StudyView) -> Iterator[tuple[str, str, str]]:
    best = view.best_trial
    yield f"Best {view.objective}", NOT_MEASURED if best is None else _number(best.value), "in-sample"
    pruned = sum(trial.state == "pruned" for trial in view.trials)
    yield "Trials", f"{len(view.trials):,}", f"{pruned:,} stopped early" if pruned else ""
    known = dict(_flat(view.statistics))
    for key, title in _CARDS.items():
        yield title, _statistic(key, known.get(key)), ""


_CARDS = {
    "trials_on_symbols": "Trials ever on these",
    "deflated_sharpe_ratio": "Deflated Sharpe",
    "probability_of_backtest_overfitting": "Overfitting (PBO)",
    "walk_forward.efficiency": "Kept out of sample",
}


# ---------------------------------------------------------------- checks and statistics


def _checks(view: StudyView) -> str:
    if not view.findings:
        why = "the study was not assessed" if view.findings is None else "the assessment made no check"
        return text_card("Checks", f"{NOT_MEASURED}: {why}.")
    rows = "".join(
        f"<tr><td>{escape(_title(one.check))}</td><td>{_badge(one.severity)}</td><td>{escape(_number(one.measured))}"
        f"</td><td>{escape(_number(one.threshold))}</td><td>{escape(one.sentence)}</td></tr>"
        for one in view.findings
    )
    head = "".join(f"<th>{name}</th>" for name in ("Check", "Verdict", "Measured", "Threshold", "What it means"))
    note = f'<p class="note">Assessed at {escape(view.assessed_at)}.</p>' if view.assessed_at else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<section class="card findings"><h2>Checks</h2><div class="wide">{table}</div>{note}</section>'


def _badge(severity: str) -> str:
    kind, text = _verdict(severity)
    return f'<span class="verdict {kind}">{text}</span>'


def _verdict(severity: str) -> tuple[str, str]:
    return _VERDICTS.get(severity, ("none", NOT_MEASURED))


_VERDICTS = {
    "error": ("error", "fails"),
    "warn": ("warn", "warns"),
    "pass": ("ok", "passes"),
}

MEANINGS: Mapping[str, str] = {
    "trials": "Trials of this study. The best of many looks better than it is.",
    "trials_on_symbols": "Trials ever run on these symbols, whatever the study: each of them was another chance to be "
    "lucky.",
    "effective_trials": "How many different bets the trials amount to: near copies count once.",
    "sharpe_ratio": "Mean over standard deviation of daily returns, a year; what the search saw.",
    "probabilistic_sharpe_ratio": "Chance that the true Sharpe ratio is above 0, as if this had been the only trial.",
    "deflated_sharpe_ratio": "Chance that the true Sharpe ratio is above what the best of so many worthless trials "
    "would show; below 0.95 it is not told apart from luck.",
    "expected_maximum_sharpe": "What the best of so many worthless trials would show by luck alone.",
    "minimum_track_record": "Sessions needed before the Sharpe ratio is told apart from 0.",
    "probability_of_backtest_overfitting": "How often the trial that was best on one half of history was in the worse "
    "half of all trials on the other; 0.5 is what luck gives.",
    "reality_check_p_value": "Chance of such a best trial if no trial had an edge over the benchmark (White).",
    "spa_p_value": "The same without being held back by hopeless trials (Hansen).",
    "overfitting_slope": "What a better Sharpe ratio in one half of history bought in the other; below 0 it cost.",
    "overfitting_loss": "How often the winner of one half lost money in the other.",
    "walk_forward.efficiency": "Result out of sample for each unit in sample; 1 means nothing was lost, 0 everything.",
    "parameter_robustness": "What the neighbours of the best point come to, as a share of it: a lone peak is luck.",
    "break_even_costs": "How many times as high costs leave nothing, where 4 times as high do.",
    "monte_carlo_returns.sharpe.low": "One in twenty pasts like this one has a lower Sharpe ratio (block bootstrap).",
    "monte_carlo_returns.growth.low": "One in twenty pasts like this one grows by less than this, as a fraction.",
    "monte_carlo_returns.drawdown.low": "One in twenty pasts like this one falls further than this, as a fraction.",
    "monte_carlo_trades.drawdown.low": "The same with the trades drawn again one by one.",
    "monte_carlo_trades.ruin": "How often the trades drawn again lose half of the money at some point.",
    "return_skewness": "Below 0 the large days are losses.",
    "return_kurtosis": "3 is a normal distribution; more means rare large days, which blur a Sharpe ratio.",
}
"""What a figure says, for somebody who meets it for the first time; in the order in which they are shown."""

_NAMES: Mapping[str, str] = {
    "probability_of_backtest_overfitting": "Overfitting (PBO)",
    "spa_p_value": "SPA p-value",
    "reality_check_p_value": "Reality check p-value",
    "walk_forward.efficiency": "Walk-forward efficiency",
    "break_even_costs": "Break-even costs, times",
    "monte_carlo_returns.sharpe.low": "Sharpe ratio, 5th percentile",
    "monte_carlo_returns.growth.low": "Total return, 5th percentile",
    "monte_carlo_returns.drawdown.low": "Drawdown, 95 % bound",
    "monte_carlo_trades.drawdown.low": "Drawdown by trades, 95 % bound",
    "monte_carlo_trades.ruin": "Chance of losing half",
}


def _statistics(view: StudyView) -> str:
    """The figures that a reader needs, a sentence each; all others are in `study.json`."""
    if not view.statistics:
        return text_card("Statistics", f"{NOT_MEASURED}: the study was not assessed.")
    known = dict(_flat(view.statistics))
    rows = [
        (_NAMES.get(key) or _title(key), _statistic(key, known[key]), meaning)
        for key, meaning in MEANINGS.items()
        if key in known
    ]
    return table_card("Statistics", ["Figure", "Value", "What it means"], rows, kind="findings")


def _flat(statistics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Figures by name; those of a group carry its name. Long lists are for the file, not for a reader."""
    for key, value in statistics.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif not isinstance(value, list | tuple):
            yield name, value


def _statistic(key: str, value: Any) -> str:  # noqa: ANN401
    if value is None:
        return NOT_MEASURED
    if isinstance(value, float) and key in METRICS:
        return format_metric(key, value)
    return _number(value)


# ---------------------------------------------------------------- the search


def _search(view: StudyView, shares: Mapping[str, float] | None) -> str:
    if not view.known:
        return text_card("Search", f"{NOT_MEASURED}: no trial has a value.")
    history = plot_card("Optimisation history", draw.history(view), "history", height=360)
    return history + beside(_importances(shares), _contour(view, shares))


def _importances(shares: Mapping[str, float] | None) -> str:
    title = "Parameter importances"
    if shares is None:
        why = f"needs {FEWEST_TRIALS} trials with different values and a parameter that varies"
        return text_card(title, f"{NOT_MEASURED}: {why}.")
    note = "Share of the value's variance over the trials that each parameter explains (functional ANOVA)."
    return plot_card(title, draw.importance_bars(shares), "importances", height=400, note=note)


def _contour(view: StudyView, shares: Mapping[str, float] | None) -> str:
    title, pair = "The two that decide most", two_most(shares)
    if pair is None:
        return text_card(title, f"{NOT_MEASURED}: needs two parameters that vary.")
    note = "Mean over the other parameters; the star is the best trial. A plateau is worth more than a peak."
    return plot_card(title, draw.contour(view, *pair), "contour", height=400, note=note)


def _parallel(view: StudyView, shares: Mapping[str, float] | None) -> str:
    names = list(shares or view.varied())[:_MOST_AXES]
    if not names or not view.known:
        return ""
    note = f"The {_MOST_AXES} that decide most." if len(shares or ()) > _MOST_AXES else ""
    return plot_card("Parallel coordinates", draw.parallel(view, names), "parallel", height=360, note=note, tools=False)


# ---------------------------------------------------------------- what the search never saw


def _out_of_sample(view: StudyView) -> str:
    title = "Out of sample"
    if not view.curves:
        return text_card(title, f"{NOT_MEASURED}: no hold-out was looked at and no walk-forward was made.")
    note = "Nothing here was seen by the search that chose the parameters; dotted lines are where a window begins."
    return plot_card(title, draw.out_of_sample(view.curves), "out-of-sample", height=360, note=note)


def _hold_out(view: StudyView) -> str:
    """The best trial's figures on the search's sessions and on those that were kept away from it."""
    title, best = "Hold-out", view.best_trial
    if view.hold_out is None:
        return text_card(title, f"{NOT_MEASURED}: the study kept none.")
    if view.hold_out.get("looked_at") is None or best is None:
        return text_card(title, f"{NOT_MEASURED}: nobody has looked at it yet, and the first look is the only one.")
    found = view.hold_out.get("metrics") or {}
    keys = [key for key in METRICS if key in found and key in _HOLD_OUT_METRICS]
    rows = [
        (METRICS[key].label, format_metric(key, best.metrics.get(key)), format_metric(key, found[key])) for key in keys
    ]
    note = f"Looked at once, at {view.hold_out['looked_at']}."
    later = len(view.trials) - int(view.hold_out.get("trials", len(view.trials)))
    if later > 0:
        note += f" {later} trials were run after that, maybe steered by it: it proves nothing any more."
    return table_card(title, ["Figure", "search", "hold-out"], rows, note=note)


_HOLD_OUT_METRICS = frozenset(
    {
        "total_return", "annual_return", "sharpe_ratio", "sortino_ratio", "max_drawdown", "volatility", "trades",
        "win_rate", "fees", "probabilistic_sharpe_ratio",
    }
)  # fmt: skip


def _walk_summary(view: StudyView) -> str:
    title, summary = "Walk-forward", view.statistics.get("walk_forward")
    if not isinstance(summary, Mapping) or not summary:
        return text_card(title, f"{NOT_MEASURED}: no walk-forward was made.")
    rows = [(_title(key), _statistic(key, value)) for key, value in _flat(summary)]
    return table_card(title, ["Figure", "Value"], rows)


def _windows(view: StudyView) -> str:
    title = "Walk-forward windows"
    if not view.windows:
        return text_card(title, f"{NOT_MEASURED}: no walk-forward was made.")
    varied = set(view.varied())
    columns = ("window", "train", "test", "parameters", "searched", "tested", "efficiency", "test return")
    rows = [
        (
            row.get("window"),
            f"{row.get('train_start')} to {row.get('train_end')}",
            f"{row.get('test_start')} to {row.get('test_end')}",
            _window_params(row.get("params"), varied) or row.get("reason") or UNKNOWN,
            *(_number(row.get(key)) for key in ("searched", "tested", "efficiency")),
            format_metric("total_return", row.get("out_of_sample_return")),
        )
        for row in view.windows
    ]
    return table_card(title, columns, rows)


def _window_params(text: str | None, varied: Set[str]) -> str:
    """`{"fast": 10, "risk": 1}` as `fast 10`, where `fast` alone was searched."""
    params = json.loads(text) if text else {}
    return ", ".join(f"{name} {_number(value)}" for name, value in params.items() if name in varied)


def _folds(view: StudyView) -> str:
    title, best = "Folds of the best trial", view.best_trial
    if best is None or not best.folds:
        return text_card(title, f"{NOT_MEASURED}: the best trial was run on its range as one.")
    names = list(dict.fromkeys(name for fold in best.folds for name in fold))
    rows = [[_fold_cell(name, fold.get(name)) for name in names] for fold in best.folds]
    return table_card(title, [_title(name) for name in names], rows)


def _fold_cell(name: str, value: Any) -> str:  # noqa: ANN401
    if value is None:
        return UNKNOWN
    return format_metric(name, value) if name in METRICS else _number(value)


# ---------------------------------------------------------------- trials


def _trials(view: StudyView) -> str:
    shown = view.ranked[:_SHOWN_TRIALS]
    if not shown:
        return ""
    names = view.varied()
    other = [key for key in _TABLE_METRICS if METRICS[key].label != view.objective]
    known = [key for key in other if any(trial.metrics.get(key) is not None for trial in shown)]
    columns = ["trial", *names, view.objective, *(METRICS[key].label for key in known)]
    rows = [
        [
            trial.number,
            *(_number(trial.params.get(name)) for name in names),
            _number(trial.value),
            *(format_metric(key, trial.metrics.get(key)) for key in known),
        ]
        for trial in shown
    ]
    return table_card(f"The best {len(shown)} of {len(view.known):,} trials", columns, rows)


def _provenance(view: StudyView) -> str:
    rows = [
        (name, _number(value) if value is None or isinstance(value, float) else value)
        for name, value in view.provenance.items()
    ]
    return table_card("What was run", ["", ""], rows, kind="provenance") if rows else ""


def _params(trial: TrialView, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {_number(trial.params.get(name))}" for name in names) or "the only parameters"


def _title(key: str) -> str:
    if key in METRICS:
        return METRICS[key].label
    text = key.replace("_", " ").replace(".", ": ").replace("sharpe", "Sharpe")
    return text[:1].upper() + text[1:]


def _number(value: Any) -> str:  # noqa: ANN401
    if value is None:
        return NOT_MEASURED
    if isinstance(value, float):
        return format_number(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
