"""The sums of a run's figures in compiled form.

Belongs here: equity, daily returns and trades from the records of a run, summed in the order in which the libraries
sum. Does not belong here: the figures themselves (see `research.engine.kernel.figures`), the run (see `machine`).
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from research.compiled.machine import Records, compiled

Floats = npt.NDArray[np.float64]

OF_A_TRADE: Final = 7
"""Numbers that are kept of an open trade."""

_NO_SHARES: Final = 1e-9


@compiled
def equity_curve(  # noqa: C901, PLR0912, PLR0917 (compiled functions take no keywords)
    cash: float, prices: Records, fills: Records, bookings: Records, met: Records, equity: Records, gross: Records
) -> None:
    """Equity, and where it has room the gross value of positions, at every tick: as `run_tables.equity_table`.

    Both are given as zeros.
    """
    span = len(equity)
    for row in range(len(met)):
        symbol = met[row]
        begin, size, average = 0, 0.0, 0.0
        for at in range(len(fills) + 1):
            end = span
            if at < len(fills):
                if fills[at].symbol != symbol:
                    continue
                end = fills[at].tick
            if size != 0.0:
                for tick in range(begin, end):
                    worth = size * prices[symbol, tick]
                    if worth > 0.0:
                        profit = size * (prices[symbol, tick] - average)
                        equity[tick] = (equity[tick] + (worth - profit)) + profit
                    else:
                        equity[tick] += worth
                for tick in range(begin, min(end, len(gross))):
                    gross[tick] += abs(size * prices[symbol, tick])
            if at < len(fills):
                begin, size, average = end, fills[at].size, fills[at].average
    at = booked = tick = 0
    while tick < span:
        # interest is booked before anything fills
        while booked < len(bookings) and bookings[booked].tick <= tick:
            cash = bookings[booked].cash
            booked += 1
        while at < len(fills) and fills[at].tick <= tick:
            cash = fills[at].cash
            at += 1
        until = span
        if at < len(fills):
            until = fills[at].tick
        if booked < len(bookings):
            until = min(until, bookings[booked].tick)
        for place in range(tick, until):
            equity[place] = cash + equity[place]
        tick = until


@compiled
def daily_returns(levels: Floats, start: float, rate: float, returns: Floats) -> tuple[float, ...]:
    """Daily returns, and sums over them; see `_return_figures` for their names."""
    count = len(levels)
    returns[0] = levels[0] / start - 1.0
    for at in range(1, count):  # by itself, so that several days go at a time
        returns[at] = levels[at] / levels[at - 1] - 1.0
    lowest, best, worst = start, -np.inf, np.inf
    total, adjusted_sum, plain_sum, squares, below = 1.0, 0.0, 0.0, 0.0, 0
    for at in range(count):
        one, level = returns[at], levels[at]
        lowest = min(lowest, level)
        best = max(best, one)
        worst = min(worst, one)
        total *= one + 1.0
        adjusted = one - rate
        adjusted_sum += adjusted
        plain_sum += one
        squares += adjusted * adjusted if adjusted < 0.0 else 0.0
        below += one < rate
    mean, plain_mean = adjusted_sum / count, plain_sum / count
    deviation = spread = 0.0
    varied = 0
    for at in range(count):
        away, plain = returns[at] - rate - mean, returns[at] - plain_mean
        deviation += away * away
        spread += plain * plain
        varied |= returns[at] != returns[0]
    return (
        lowest, total, mean, np.sqrt(deviation / (count - 1)), np.sqrt(spread / (count - 1)), squares / count, best,
        worst, below, varied == 0,
    )  # fmt: skip


@compiled
def deepest_falls(levels: Floats, start: float, returns: Floats) -> tuple[float, float]:
    """The deepest falls from a peak: of the equity, and of what one hundred grow to by the returns."""
    peak, depth, total, growth_peak, deepest = start, 0.0, 1.0, 100.0, 0.0
    for at in range(len(levels)):
        peak = max(peak, levels[at])
        depth = min(depth, levels[at] / peak - 1.0)
        total *= returns[at] + 1.0
        growth_peak = max(growth_peak, total * 100.0)
        deepest = min(deepest, (total * 100.0 - growth_peak) / growth_peak)
    return depth, deepest


@compiled
def profits_of_trades(  # noqa: PLR0917
    fills: Records, bars: Records, last_closes: Records, ts: Records, closed: Records, trades: Records, left: Records
) -> int:
    """Profits of closed and of open trades: `trades_from_fills`.

    Args:
        fills: of the run.
        bars: number of the symbol's bar at each tick.
        last_closes: of each symbol.
        ts: moments of the ticks.
        closed: gets gross profit, net profit, time and bars held of each closed trade, in four rows; as long as fills.
        trades: direction, first tick, shares and money entered, shares and money left, costs of each symbol's open
            trade; given as zeros.
        left: gets the net profit of each symbol's open trade; given as zeros.

    Returns:
        How many trades were closed.
    """
    count = 0
    for at in range(len(fills)):
        fill = fills[at]
        one = trades[fill.symbol]
        quantity, direction = abs(fill.quantity), 1.0 if fill.quantity > 0.0 else -1.0
        opening = quantity
        if one[0] == -direction:
            closing = min(quantity, one[2] - one[4])
            opening = quantity - closing
            one[4] += closing
            one[5] += closing * fill.price
            one[6] += fill.commission * (closing / quantity)
            if one[2] - one[4] <= _NO_SHARES:
                entered = int(one[1])
                closed[0, count] = one[0] * (one[5] - one[3])
                closed[1, count] = closed[0, count] - one[6]
                closed[2, count] = ts[fill.tick] - ts[entered]
                closed[3, count] = bars[fill.symbol, fill.tick] - bars[fill.symbol, entered]
                count += 1
                for field in range(len(one)):
                    one[field] = 0.0
        if opening > _NO_SHARES:
            if one[0] == 0.0:
                one[0], one[1] = direction, fill.tick
            one[2] += opening
            one[3] += opening * fill.price
            one[6] += fill.commission * (opening / quantity)
    for symbol in range(len(trades)):
        one = trades[symbol]
        if one[0] != 0.0:
            worth = one[5] + (one[2] - one[4]) * last_closes[symbol]
            left[symbol] = one[0] * (worth - one[3]) - one[6]
    return count
