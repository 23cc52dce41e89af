"""The recorded bars that a simulation trades, as arrays in order of time.

Belongs here: reading the warehouse, where each bar begins, moving a recording onto other days. Does not belong here:
the clock (see `market`), bars of other lengths (see `history`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from broker.simulator.errors import SimulatorSettingsError
from warehouse.calendar import TradingCalendar
from warehouse.errors import NoDataError
from warehouse.resolution import Resolution
from warehouse.store import Adjust, Warehouse

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

EPOCH: Final = date(1970, 1, 1)
MICROSECOND: Final = timedelta(microseconds=1)
SECOND: Final = 1_000_000
FINEST_FIRST: Final = (Resolution.SECONDS_5, Resolution.MINUTE, Resolution.HOURLY, Resolution.DAILY)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; times are UTC microseconds."""

    opens: int
    closes: int
    session: int  # days since 1970
    regular: bool
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def path(self) -> tuple[float, float, float, float]:
        """The four prices that the simulated price passes, in order: the nearer extreme comes first."""
        if self.close >= self.open:
            return self.open, self.low, self.high, self.close
        return self.open, self.high, self.low, self.close

    def moment(self, knot: int) -> int:
        """When the path passes its knot 0 to 3."""
        return self.opens + (self.closes - self.opens) * knot // 3


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """All bars of one symbol in one resolution, ascending; arrays of one length, read-only."""

    opens: Int64s
    closes: Int64s
    session: Int64s
    regular: Bools
    prices: Floats  # four columns: open, high, low, close
    volume: Floats  # NaN where unknown

    def __len__(self) -> int:
        return len(self.closes)

    def bar(self, index: int) -> Bar:
        """The bar at a place."""
        o, h, lo, c = self.prices[index].tolist()
        return Bar(
            int(self.opens[index]),
            int(self.closes[index]),
            int(self.session[index]),
            bool(self.regular[index]),
            o,
            h,
            lo,
            c,
            float(self.volume[index]),
        )

    def part(self, low: int, high: int) -> "Series":
        """Bars from one place up to another."""
        cut = slice(low, high)
        return Series(
            self.opens[cut],
            self.closes[cut],
            self.session[cut],
            self.regular[cut],
            self.prices[cut],
            self.volume[cut],
        )

    def only(self, keep: Bools) -> "Series":
        """The bars at the marked places."""
        return Series(
            self.opens[keep],
            self.closes[keep],
            self.session[keep],
            self.regular[keep],
            self.prices[keep],
            self.volume[keep],
        )

    def closed_by(self, moment: int) -> int:
        """How many bars have closed at a moment."""
        return int(np.searchsorted(self.closes, moment, side="right"))


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """Bars by resolution and symbol; `base` is the resolution whose bars make the market move."""

    base: Resolution
    series: Mapping[Resolution, Mapping[str, Series]]

    @property
    def symbols(self) -> tuple[str, ...]:
        """What trades, sorted."""
        return tuple(sorted(self.series[self.base]))

    def moving(self, symbol: str) -> Series:
        """The bars that make the price of a symbol move."""
        return self.series[self.base][symbol]

    def stored(self, symbol: str, resolution: Resolution) -> Series | None:
        """The bars of a symbol in a resolution, None when there are none."""
        return self.series.get(resolution, {}).get(symbol)


def load_tape(
    warehouse: Warehouse,
    symbols: Iterable[str],
    calendar: TradingCalendar,
    *,
    base: Resolution | None = None,
    adjust: Adjust = "splits",
) -> Tape:
    """Read all bars of the symbols; with none named, of every symbol in the warehouse.

    Raises:
        SimulatorSettingsError: there are no bars, a symbol has none, or the symbols share no resolution.
    """
    known = {length: set(warehouse.symbols(length)) for length in FINEST_FIRST}
    wanted = list(dict.fromkeys(symbols)) or sorted(set[str]().union(*known.values()))
    if not wanted:
        raise SimulatorSettingsError(
            "symbols: the warehouse holds no bars yet; run `barloom download --symbols SPY AAPL` first."
        )
    series: dict[Resolution, dict[str, Series]] = {length: {} for length in FINEST_FIRST}
    for length in FINEST_FIRST:
        for symbol in (s for s in wanted if s in known[length]):
            try:
                found = warehouse.read_bars(symbol, length, adjust=adjust)
            except NoDataError:  # raw bars that no cleaning has seen yet
                continue
            if found.num_rows:
                series[length][symbol] = _series(found, length, calendar)
    _check_present(series, wanted)
    return Tape(_base(series, wanted, base), series)


def _check_present(series: Mapping[Resolution, Mapping[str, Series]], wanted: list[str]) -> None:
    missing = [symbol for symbol in wanted if not any(symbol in found for found in series.values())]
    if missing:
        raise SimulatorSettingsError(
            f"symbols: {missing[0]!r} has no bars in the warehouse; "
            f"run `barloom download --symbols {' '.join(missing)}` first."
        )


def _base(series: Mapping[Resolution, Mapping[str, Series]], wanted: list[str], asked: Resolution | None) -> Resolution:
    shared = [length for length in FINEST_FIRST if all(symbol in series[length] for symbol in wanted)]
    if asked is not None and asked not in shared:
        lacking = next(symbol for symbol in wanted if symbol not in series[asked])
        raise SimulatorSettingsError(f"resolution: {lacking!r} has no {asked.value} bars in the warehouse.")
    if not shared:
        raise SimulatorSettingsError(
            f"symbols: {', '.join(wanted)} have no resolution in common; "
            "run `barloom download` for one resolution of all of them, or name fewer."
        )
    return asked or shared[0]


def _series(bars: pa.Table, resolution: Resolution, calendar: TradingCalendar) -> Series:
    closes = bars["ts"].cast(pa.int64()).to_numpy().copy()
    session = bars["session"].cast(pa.int32()).to_numpy().astype(np.int64)
    regular = bars["regular"].to_numpy(zero_copy_only=False).astype(np.bool_)
    prices = np.column_stack([bars[name].to_numpy() for name in ("open", "high", "low", "close")]).astype(np.float64)
    volume = pc.fill_null(bars["volume"], float("nan")).to_numpy().astype(np.float64)
    place = np.clip(np.searchsorted(calendar.days, session), 0, len(calendar.days) - 1)
    opened = calendar.opens[place]
    length = resolution.length // MICROSECOND
    if resolution.intraday:
        # an hour is counted from the session's open, so that its last one may be shorter than an hour
        inside = opened + (closes - opened - 1) // length * length
        opens = np.where(regular, inside, closes - length)
    else:
        opens = opened
    whole = Series(opens, closes, session, regular, prices, volume)
    return whole.only(np.isfinite(prices).all(axis=1) & (opens < closes))


def on_other_days(tape: Tape, calendar: TradingCalendar, recorded: date, played: date) -> Tape:
    """The tape with session `recorded` on session `played`, and all others as many sessions before or after it.

    A bar keeps its distance from its session's open. What would lie behind an earlier close is left out, but a daily
    bar ends with its session.
    """
    shift = _session_place(calendar, played) - _session_place(calendar, recorded)
    moved = {
        length: {symbol: _moved(series, calendar, shift, length) for symbol, series in found.items()}
        for length, found in tape.series.items()
    }
    return Tape(tape.base, moved)


def _moved(series: Series, calendar: TradingCalendar, shift: int, resolution: Resolution) -> Series:
    place = np.searchsorted(calendar.days, series.session)
    known = (place + shift >= 0) & (place + shift < len(calendar.days)) & (place < len(calendar.days))
    old, kept = place[known], series.only(known)
    new = old + shift
    by = calendar.opens[new] - calendar.opens[old]
    opens, closes = kept.opens + by, kept.closes + by
    if not resolution.intraday:
        closes = calendar.closes[new]
    moved = Series(opens, closes, calendar.days[new], kept.regular, kept.prices, kept.volume)
    return moved.only(~kept.regular | (closes <= calendar.closes[new]))


def _session_place(calendar: TradingCalendar, day: date) -> int:
    return int(np.searchsorted(calendar.days, (day - EPOCH).days))


def default_start(tape: Tape) -> date:
    """A session with history before it and days to play after it: a year before the end, or the middle."""
    sessions = np.unique(np.concatenate([tape.moving(symbol).session for symbol in tape.symbols]))
    place = max(len(sessions) - 252, len(sessions) // 2)
    return EPOCH + timedelta(days=int(sessions[min(place, len(sessions) - 1)]))
