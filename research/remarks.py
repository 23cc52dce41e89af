"""What a reader of a backtest must be told before trusting its numbers.

Belongs here: the sentences in `RunOutput.warnings`, each with its consequence. Does not belong here: errors (a run that
cannot be trusted at all raises), verdicts about performance.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research.experiment import Experiment
from research.feed import SymbolBars
from research.run_output import RunOutput
from risk.states import HaltState

_FEES_OF_PROFIT = 0.30


def remarks(
    experiment: Experiment, output: RunOutput, bars: Mapping[str, SymbolBars], benchmark: pa.Table | None
) -> tuple[str, ...]:
    """Every remark that applies, the most consequential first."""
    return (
        *_about_costs(experiment, output),
        *_about_orders(output),
        *_about_trades(output),
        *_about_data(experiment, output, bars),
        *_about_limits(experiment),
        *_about_halts(output),
        *_about_the_benchmark(experiment, benchmark),
    )


def _about_costs(experiment: Experiment, output: RunOutput) -> Iterator[str]:
    yield from experiment.costs.build().notices_for(experiment.start, experiment.end)
    gross = sum(output.trades["gross_profit"].to_pylist()) + output.open_profit
    if gross > 0 and output.commission > _FEES_OF_PROFIT * gross:
        share = output.commission / gross
        yield f"Fees of {output.commission:,.2f} take {share:.0%} of the gross profit of {gross:,.2f}."
    elif gross <= 0 < output.commission and output.commission > _FEES_OF_PROFIT * output.starting_cash:
        yield f"Fees of {output.commission:,.2f} exceed {_FEES_OF_PROFIT:.0%} of the starting cash."


def _about_orders(output: RunOutput) -> Iterator[str]:
    orders = output.orders
    if not orders.num_rows:
        yield "No order was ever submitted: the equity curve is the starting cash."
        return
    states = Counter(orders["status"].to_pylist())
    if states["margin"]:
        yield f"{states['margin']} of {orders.num_rows} orders failed for lack of cash; their signals had no effect."
    if states["rejected"]:
        yield f"{states['rejected']} of {orders.num_rows} orders were refused; see the reasons in the orders table."
    shrunk = int(
        pc.sum(
            pc.and_(pc.less(orders["quantity"], orders["quantity_requested"]), pc.greater(orders["quantity"], 0))
        ).as_py()
    )
    if shrunk:
        yield f"{shrunk} of {orders.num_rows} orders were made smaller by a risk limit."
    last_ts = output.equity["ts"][-1].as_py()
    waiting = [
        row
        for row in orders.select(["ts", "status"]).to_pylist()
        if row["status"] in {"submitted", "accepted", "partial", "created"}
    ]
    at_the_end = sum(row["ts"] == last_ts for row in waiting)
    if at_the_end:
        yield f"{at_the_end} orders were submitted on the last bar and could not execute any more."
    if len(waiting) > at_the_end:
        yield f"{len(waiting) - at_the_end} orders were still waiting, wholly or partly, when the bars ended."


def _about_trades(output: RunOutput) -> Iterator[str]:
    if output.orders.num_rows and not output.fills.num_rows:
        yield "No order was ever filled: the equity curve is the starting cash."
    elif output.fills.num_rows and not output.trades.num_rows:
        yield "No trade was ever closed: win rate and profit factor are unknown, the result is an open position."
    if output.open_trades.num_rows:
        symbols = ", ".join(output.open_trades["symbol"].to_pylist())
        yield f"Open at the end: {symbols}, with an unrealised profit of {output.open_profit:,.2f} in the total return."
    if output.deposits:
        yield f"The strategy moved {output.deposits:,.2f} of cash itself; returns include it as if it were profit."


def _about_data(experiment: Experiment, output: RunOutput, bars: Mapping[str, SymbolBars]) -> Iterator[str]:
    firsts = {symbol: _day(series.sessions[0]) for symbol, series in bars.items()}
    lasts = {symbol: _day(series.sessions[-1]) for symbol, series in bars.items()}
    began = min(firsts.values())
    for symbol, first in firsts.items():
        if (first - began).days > _LATE_DAYS:
            yield f"{symbol} has no bars before {first}, {(first - began).days} days after the first symbol's."
    yield from _about_waiting(output, late=max(firsts.values()) != began)
    for symbol, last in lasts.items():
        if (experiment.end - last).days > _LATE_DAYS:
            yield f"{symbol} has no bars after {last} although the experiment ends on {experiment.end}."
    if (began - experiment.start).days > _LATE_DAYS:
        yield f"The first bar of any symbol is of {began} although the experiment starts on {experiment.start}."
    for symbol, series in bars.items():
        unknown = int(np.isnan(series.volume).sum())
        if unknown:
            yield f"{symbol} has {unknown} bars of unknown volume: orders on them fill without a volume limit."


_LATE_DAYS = 10  # longer than any run of closed days; a shorter gap is a holiday


def _about_limits(experiment: Experiment) -> Iterator[str]:
    if experiment.limits.notice is not None:
        yield experiment.limits.notice
    minutes, bar = experiment.limits.flat_before_close_minutes, experiment.resolution.length
    if minutes is None:
        return
    if not experiment.resolution.intraday:
        yield "limits.flat_before_close_minutes has no effect on daily bars: a daily bar is known at the close only."
    elif minutes * 60 < bar.total_seconds():
        yield (
            f"limits.flat_before_close_minutes {minutes:g} is shorter than a {experiment.resolution} bar: positions are"
            f" closed at the next session's open, not before the close."
        )


def _about_halts(output: RunOutput) -> Iterator[str]:
    if output.final_halt is HaltState.ACTIVE:
        return
    halts = [event for event in output.risk_events if event.kind == "halt"]
    if halts and halts[-1].limit == "flat_before_close_minutes":
        return  # every session ends so
    since = f" since {halts[-1].ts:%Y-%m-%d} by {halts[-1].limit}" if halts else ""
    yield f"Risk state {output.final_halt} stood at the end{since}: no position was opened from there on."


def _about_the_benchmark(experiment: Experiment, benchmark: pa.Table | None) -> Iterator[str]:
    if benchmark is None:
        return
    if not benchmark.num_rows:
        yield f"The benchmark {experiment.benchmark} has no bars: everything relative to it is unknown."
        return
    extent = pc.min_max(benchmark["session"]).as_py()
    if (extent["min"] - experiment.start).days > _LATE_DAYS or (experiment.end - extent["max"]).days > _LATE_DAYS:
        yield (
            f"The benchmark {experiment.benchmark} has bars from {extent['min']} to {extent['max']} only:"
            f" everything relative to it is measured on that part."
        )


def _about_waiting(output: RunOutput, *, late: bool) -> Iterator[str]:
    """A strategy that waits for its last symbol; those of the library do not."""
    orders = output.orders
    if output.warmed_up is None:
        if not orders.num_rows:
            yield "The bars end before the strategy's indicators have enough of them: it never decided anything."
    elif late and not (orders.num_rows and orders["ts"][0].as_py() < output.warmed_up):
        yield f"Nothing was decided before {output.warmed_up:%Y-%m-%d}, when every symbol had enough bars."


def _day(number: int) -> date:
    return date.fromordinal(date(1970, 1, 1).toordinal() + int(number))
