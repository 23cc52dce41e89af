"""What each figure is called, what it means and how it is written for a person.

Belongs here: key, label, unit and definition of every entry of a result's `metrics`, and its formatting.
Does not belong here: computing them (`research.metrics`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

UNKNOWN = "unknown"


class Unit(StrEnum):
    """How a figure is written."""

    FRACTION = "fraction"  # 0.12 is 12 %
    RATIO = "ratio"
    MONEY = "money"
    COUNT = "count"
    DAYS = "days"
    DATE = "date"


class Better(StrEnum):
    """Which direction is an improvement."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """One entry of `metrics`: its key in the JSON, its label, unit, direction and definition."""

    key: str
    label: str
    unit: Unit
    better: Better
    definition: str


def _info(key: str, label: str, unit: Unit, better: Better, definition: str) -> MetricInfo:
    return MetricInfo(key, label, unit, better, definition)


_F, _R, _M, _C, _D, _T = Unit.FRACTION, Unit.RATIO, Unit.MONEY, Unit.COUNT, Unit.DAYS, Unit.DATE
_UP, _DOWN, _NONE = Better.HIGHER, Better.LOWER, Better.NEITHER

_CATALOG = (
    _info("total_return", "Total return", _F, _UP, "Final equity over starting cash, minus 1."),
    _info("annual_return", "Annual return (CAGR)", _F, _UP, "Compound return a year of `annualization` sessions."),
    _info("volatility", "Volatility", _F, _DOWN, "Standard deviation (ddof 1) of daily returns, annualised."),
    _info("sharpe_ratio", "Sharpe ratio", _R, _UP, "Mean over standard deviation of daily excess returns, annualised."),
    _info("sortino_ratio", "Sortino ratio", _R, _UP, "Annualised excess return over downside deviation."),
    _info("calmar_ratio", "Calmar ratio", _R, _UP, "Annual return over the size of the maximum drawdown."),
    _info("probabilistic_sharpe_ratio", "Probabilistic Sharpe", _F, _UP, "Chance that the true Sharpe is above 0."),
    _info("max_drawdown", "Max drawdown", _F, _UP, "Deepest fall from a peak as a negative fraction of the peak."),
    _info("max_drawdown_peak", "Drawdown began", _T, _NONE, "Session of the peak before the deepest drawdown."),
    _info("max_drawdown_trough", "Drawdown bottom", _T, _NONE, "Session of the deepest point."),
    _info("max_drawdown_recovery", "Drawdown recovered", _T, _NONE, "First session back at the peak."),
    _info("max_drawdown_days", "Drawdown length", _D, _DOWN, "Calendar days from peak to recovery, or to the end."),
    _info("value_at_risk_95", "VaR 95 % (a day)", _F, _UP, "5th percentile of daily returns."),
    _info("conditional_value_at_risk_95", "CVaR 95 % (a day)", _F, _UP, "Mean of the worst 5 % of daily returns."),
    _info("skew", "Skew", _R, _UP, "Bias-corrected sample skewness of daily returns."),
    _info("kurtosis", "Kurtosis (excess)", _R, _DOWN, "Bias-corrected EXCESS kurtosis of daily returns; normal = 0."),
    _info("tail_ratio", "Tail ratio", _R, _UP, "Size of the 95th over size of the 5th percentile of daily returns."),
    _info("best_day", "Best day", _F, _UP, "Highest daily return."),
    _info("worst_day", "Worst day", _F, _UP, "Lowest daily return."),
    _info("sessions", "Sessions", _C, _NONE, "Daily returns measured."),
    _info("exposure", "Time in market", _F, _NONE, "Share of bars that end with an open position."),
    _info("gross_exposure", "Gross exposure", _F, _NONE, "Mean of gross position value over equity at the bar's end."),
    _info("turnover", "Turnover a year", _R, _DOWN, "Half the traded value over mean equity, a year."),
    _info("fills", "Fills", _C, _NONE, "Executions."),
    _info("trades", "Trades", _C, _NONE, "Closed round trips."),
    _info("trades_per_year", "Trades a year", _R, _NONE, "Closed round trips a year of `annualization` sessions."),
    _info("win_rate", "Win rate", _F, _UP, "Share of closed trades with a net profit above 0."),
    _info("profit_factor", "Profit factor", _R, _UP, "Net profit of winners over net loss of losers."),
    _info("expectancy", "Expectancy a trade", _M, _UP, "Mean net profit of a closed trade."),
    _info("average_win", "Average win", _M, _UP, "Mean net profit of winning trades."),
    _info("average_loss", "Average loss", _M, _UP, "Mean net profit of losing trades (negative)."),
    _info("average_holding_days", "Average holding", _D, _NONE, "Mean calendar days from entry to exit."),
    _info("average_holding_bars", "Average holding (bars)", _R, _NONE, "Mean bars from entry to exit."),
    _info("gross_profit", "Gross profit", _M, _UP, "Profit of closed trades before commissions."),
    _info("net_profit", "Net profit", _M, _UP, "Final equity minus starting cash."),
    _info("open_profit", "Open profit", _M, _NONE, "Net profit of positions still open at the end."),
    _info("fees", "Fees", _M, _DOWN, "Commissions, exchange, clearing and regulatory fees paid."),
    _info("slippage", "Slippage", _M, _DOWN, "Money lost between reference and fill prices."),
    _info("financing", "Financing", _M, _UP, "Interest earned minus borrow and margin interest paid."),
    _info("fees_to_gross_profit", "Fees / gross profit", _F, _DOWN, "Fees over gross profit of closed trades."),
    _info("final_equity", "Final equity", _M, _UP, "Cash and positions at the last bar."),
    _info("alpha", "Alpha (a year)", _F, _UP, "Annualised intercept against the benchmark (CAPM)."),
    _info("beta", "Beta", _R, _NONE, "Slope of daily returns on the benchmark's."),
    _info("correlation", "Correlation", _R, _NONE, "Of daily returns with the benchmark's."),
    _info("tracking_error", "Tracking error", _F, _NONE, "Standard deviation of active returns, annualised."),
    _info("information_ratio", "Information ratio", _R, _UP, "Mean over deviation of active returns, annualised."),
)

METRICS: Mapping[str, MetricInfo] = {info.key: info for info in _CATALOG}
"""Every key a result's `metrics` holds, in the order in which they are shown."""


def format_metric(key: str, value: float | str | None) -> str:
    """Write a figure for a person: `12.3 %`, `0.68`, `1,234.50`; `unknown` where there is none."""
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return value
    return _FORMATS[METRICS[key].unit if key in METRICS else Unit.RATIO](value)


def format_number(value: float, digits: int = 4) -> str:
    """So many significant digits, or all before the point of a larger number: `0.1235`, `123,456`.

    Powers of ten hide how many trades there were.
    """
    return f"{value:,.0f}" if abs(value) >= 10.0**digits - 0.5 else f"{value:.{digits}g}"


_FORMATS: Mapping[Unit, Callable[[float], str]] = {
    Unit.FRACTION: lambda v: f"{100 * v:z,.2f} %",
    Unit.RATIO: lambda v: f"{v:z,.2f}",
    Unit.MONEY: lambda v: f"{v:z,.2f}",
    Unit.COUNT: lambda v: f"{int(v):,}",
    Unit.DAYS: lambda v: f"{v:,.1f} d" if v % 1 else f"{int(v):,} d",
    Unit.DATE: str,
}
