"""IB's history as a source of the warehouse.

Belongs here: which pages a range is asked for in, what IB's refusals mean, IB's bars as vendor rows. Does not belong
here: when a question may be sent (see `pacing`), what is missing and where it is kept (see `warehouse.ingest`).

TRADES are adjusted for splits at IB, ADJUSTED_LAST for splits and dividends: the quotient of their closes steps where
a dividend was paid, which is how `warehouse.actions` learns of it. Splits show where a later delivery overlaps an
earlier one.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from broker.errors import ContractError, GatewayError, NoDataError, PacingError, RequestRefusedError
from broker.ib.contracts import ContractBook
from broker.ib.messages import Bar, Contract, SessionState
from broker.ib.pacing import Pacer
from broker.ib.requests import Gateway, HistoryRequest
from warehouse.calendar import TradingCalendar
from warehouse.errors import SourceContractError, SourceError, SourceRefusedError, UnknownSymbolError
from warehouse.resolution import Resolution
from warehouse.schema import VENDOR_SCHEMA
from warehouse.sources.protocol import BarRequest, Stamped, VendorBars
from warehouse.stamping import place

Range = tuple[date, date]


@dataclass(frozen=True, slots=True)
class PageSize:
    """How IB is asked for one length of bar: `sessions` a request stay below the longest duration IB allows."""

    bar_size: str
    sessions: int
    stamped: Stamped


PAGE_SIZES: Final[Mapping[Resolution, PageSize]] = {
    Resolution.DAILY: PageSize("1 day", 245, "session"),  # a year at most
    Resolution.HOURLY: PageSize("1 hour", 16, "clock_open"),  # a month at most
    Resolution.MINUTE: PageSize("1 min", 1, "open"),  # a day at most
}
"""IB's table of longest durations, in sessions: as many as lie within it even where an exchange was closed for days."""

_NO_CONTRACT: Final = 200
_IN_PASSING: Final = frozenset({162, 366})  # a query that was cancelled or lost; asking again may help
_PATIENCE: Final = 120.0  # seconds for a connection to come back
_MOST_DAYS: Final = 365  # a longer duration must be given in years
_MOST_OVERLAP: Final = {Resolution.MINUTE: 1}  # a session of minutes is a request, and shows a change of scale alone


def plan_pages(start: date, end: date, resolution: Resolution, calendar: TradingCalendar) -> list[Range]:
    """Closed ranges of dates that cover the sessions of a closed range, newest first, each short enough for IB.

    Neighbouring pages of daily bars share a session, so that a dividend between them shows in one.
    """
    size = PAGE_SIZES[resolution].sessions
    sessions = calendar.sessions(start, end)
    shared = 0 if resolution.intraday else 1
    pages: list[Range] = []
    high = len(sessions)
    while high > 0:
        low = max(high - size, 0)
        pages.append((sessions[low], sessions[min(high + (shared if pages else 0), len(sessions)) - 1]))
        high = low
    return pages


def duration_text(first: date, last: date, calendar: TradingCalendar) -> str:
    """IB's duration that reaches from the end of `last` back over `first`: trading days, or years where those are many.

    A currency pair trades on holidays of the exchange, so every weekday counts.
    """
    weekdays = int(np.busday_count(first, last + timedelta(days=1)))
    days = max(len(calendar.sessions(first, last)), weekdays, 1)
    return f"{days} D" if days <= _MOST_DAYS else f"{last.year - first.year + 1} Y"


def shown_for(contract: Contract) -> str:
    """What bars of a contract are made of: trades, or the middle of bid and ask where trades are not told."""
    return "MIDPOINT" if contract.sec_type == "CASH" else "TRADES"


@dataclass(frozen=True, slots=True)
class _Instrument:
    """The contract of a symbol, and what its bars show."""

    contract: Contract
    what_to_show: str


class IBSource:
    """Minute, hour and daily bars of regular hours from a gateway. Keeps `warehouse.sources.PagedSource`.

    Any number of threads may fetch, each a symbol of its own. `now` is the wall clock; `seconds` is how long IB may
    take for one page.
    """

    def __init__(
        self,
        gateway: Gateway,
        contracts: ContractBook,
        pacer: Pacer,
        calendar: TradingCalendar,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        seconds: float = 60.0,
    ) -> None:
        self._gateway, self._contracts, self._pacer, self._calendar = gateway, contracts, pacer, calendar
        self._now, self._seconds = now, seconds
        self._begins: dict[str, date] = {}  # symbol -> the day before which IB has nothing
        self._adjusted: dict[str, tuple[date, Mapping[date, float]]] = {}  # symbol -> from when on, adjusted closes
        self._spans: dict[str, date] = {}  # symbol -> the earliest day that will be asked for

    @property
    def name(self) -> str:
        """Stored with every batch."""
        return "ib"

    def symbols(self) -> Sequence[str]:
        """None: IB does not list what it knows."""
        return ()

    def most_overlap(self, resolution: Resolution) -> int:
        """Sessions worth asking for again."""
        return _MOST_OVERLAP.get(resolution, 5)

    def pages(self, request: BarRequest) -> Sequence[BarRequest]:
        """Pages of a range, newest first; all before IB's first bar is one last page, which `fetch` need not ask for.

        Raises:
            UnknownSymbolError: IB knows no such contract.
            SourceError: the length of bar is none of IB's, or IB did not answer.
        """
        self._page_size(request.resolution)
        ranges = plan_pages(request.start, request.end, request.resolution, self._calendar)
        if len(ranges) > 1:
            ranges = _from_beginning(ranges, request.start, self._first_day(request.symbol))
        self._spans[request.symbol] = min(request.start, self._spans.get(request.symbol, request.start))
        return [BarRequest(request.symbol, request.resolution, *page) for page in ranges]

    def fetch(self, request: BarRequest) -> VendorBars:
        """Bars of a range, which may be longer than a page; empty where IB says that there are none.

        Raises:
            UnknownSymbolError: IB knows no such contract.
            SourceRefusedError: IB refuses for good.
            SourceContractError: hours that are not cut on the clock.
            SourceError: no answer, or a refusal in passing; asking again may help.
        """
        size = self._page_size(request.resolution)
        instrument = self._instrument(request.symbol)
        bars: dict[date | datetime, Bar] = {}
        if request.end >= self._begins.get(request.symbol, request.end):
            for page in plan_pages(request.start, request.end, request.resolution, self._calendar):
                bars |= {bar.stamp: bar for bar in self._page(request.symbol, instrument, size, page)}
        rows = _within([bars[stamp] for stamp in sorted(bars)], request, size.stamped, self._calendar)
        if size.stamped == "clock_open":
            _check_cut_on_the_clock(request.symbol, rows, self._calendar)
        adjusted: Mapping[date, float] = {}
        if rows and request.resolution is Resolution.DAILY and instrument.contract.sec_type == "STK":
            adjusted = self._adjusted_closes(request.symbol, instrument.contract, request.start)
        return VendorBars(vendor_table(rows, adjusted), size.stamped, instrument.what_to_show)

    def stop(self) -> None:
        """Ask nothing more: whoever fetches now ends with an error soon."""
        self._pacer.stop()

    def seconds_for(self, pages: int) -> float:
        """How long IB's limits make so many further pages take at least."""
        return self._pacer.seconds_for(pages)

    # ---------------------------------------------------------------- asking

    def _page(self, symbol: str, instrument: _Instrument, size: PageSize, page: Range) -> Sequence[Bar]:
        first, last = page
        midnight = datetime.combine(last + timedelta(days=1), clock_time(), ZoneInfo(self._calendar.timezone))
        end = None if midnight >= self._now() else midnight.astimezone(UTC)
        duration = duration_text(first, last, self._calendar)
        return self._ask(
            symbol,
            HistoryRequest(instrument.contract, end, duration, size.bar_size, instrument.what_to_show),
        )

    def _ask(self, symbol: str, request: HistoryRequest) -> Sequence[Bar]:
        """Bars in IB's order; none where IB says that there are none."""

        def ask() -> Sequence[Bar]:
            self._settle()
            return self._gateway.history(request, self._seconds)

        try:
            return self._pacer.run(request, ask)
        except NoDataError:
            return ()
        except GatewayError as error:
            raise self._failure(symbol, error) from error

    def _settle(self) -> None:
        """Give a lost connection time to come back: in IB's nightly reset as long as that lasts."""
        deadline = time.monotonic() + _PATIENCE
        while not self._pacer.stopped and not self._gateway.wait_for(SessionState.READY, 1.0):
            if time.monotonic() >= deadline and not self._gateway.in_reset:
                return

    def _failure(self, symbol: str, error: GatewayError) -> SourceError:
        """What a failure of the gateway means for one symbol."""
        text = f"{symbol}: {error}"
        if isinstance(error, ContractError):
            return UnknownSymbolError(str(error))
        if self._pacer.stopped:
            return SourceRefusedError(text)
        if isinstance(error, PacingError) or not isinstance(error, RequestRefusedError):
            return SourceError(text)
        if error.code == _NO_CONTRACT:
            self._contracts.forget(symbol)
            return UnknownSymbolError(text)
        passing = error.code in _IN_PASSING and "permission" not in error.text.lower()
        return SourceError(text) if passing else SourceRefusedError(text)

    def _instrument(self, symbol: str) -> _Instrument:
        try:
            contract = self._contracts.resolve(symbol)
        except GatewayError as error:
            raise self._failure(symbol, error) from error
        return _Instrument(contract, shown_for(contract))

    def _first_day(self, symbol: str) -> date:
        """The exchange's date on which IB's history begins, `date.min` where IB does not tell; asked once."""
        if symbol not in self._begins:
            instrument = self._instrument(symbol)
            what = instrument.what_to_show
            question = HistoryRequest(instrument.contract, None, "", "first moment", what)  # counts as one at IB
            try:
                moment = self._pacer.run(
                    question, lambda: self._gateway.first_moment(instrument.contract, what, self._seconds)
                )
            except NoDataError:
                self._begins[symbol] = date.min
            except GatewayError as error:
                raise self._failure(symbol, error) from error
            else:
                self._begins[symbol] = moment.astimezone(ZoneInfo(self._calendar.timezone)).date()
        return self._begins[symbol]

    def _adjusted_closes(self, symbol: str, contract: Contract, start: date) -> Mapping[date, float]:
        """Closes adjusted for dividends from a date up to now; IB gives them up to now only, so they are asked once."""
        known = self._adjusted.get(symbol)
        if known is None or known[0] > start:
            earliest = max(self._spans.get(symbol, start), self._begins.get(symbol, date.min))
            first = min(start, earliest)
            duration = duration_text(first, max(self._now().date(), first), self._calendar)
            bars = self._ask(symbol, HistoryRequest(contract, None, duration, "1 day", "ADJUSTED_LAST"))
            known = first, {bar.stamp: bar.close for bar in bars if not isinstance(bar.stamp, datetime)}
            self._adjusted[symbol] = known
        return known[1]

    def _page_size(self, resolution: Resolution) -> PageSize:
        size = PAGE_SIZES.get(resolution)
        if size is None:
            told = ", ".join(known.value for known in PAGE_SIZES)
            raise SourceRefusedError(f"resolution: {resolution.value} bars are not downloaded from IB, only {told}.")
        return size


def _from_beginning(pages: Sequence[Range], start: date, begins: date) -> list[Range]:
    """Pages from a day on, and one more for all that lies before it."""
    kept = [page for page in pages if page[1] >= begins]
    before = [page for page in pages if page[1] < begins]
    return [*kept, (start, before[0][1])] if before else kept


def _within(bars: Sequence[Bar], request: BarRequest, stamped: Stamped, calendar: TradingCalendar) -> list[Bar]:
    """Bars whose session lies in the range; IB counts back from an end and gives what it finds there."""
    if not bars:
        return []
    stamps = np.array([_microseconds(bar.stamp) for bar in bars], np.int64)
    days = place(stamps, stamped, request.resolution, calendar).session
    low, high = ((day - date(1970, 1, 1)).days for day in (request.start, request.end))
    return [bar for bar, day in zip(bars, days.tolist(), strict=True) if low <= day <= high]


def _check_cut_on_the_clock(symbol: str, bars: Iterable[Bar], calendar: TradingCalendar) -> None:
    """Only the first hour of a session may begin off the clock; else its end cannot be told from its open."""
    zone = ZoneInfo(calendar.timezone)
    day = None
    for bar in bars:
        local = datetime.fromtimestamp(_microseconds(bar.stamp) / 1e6, zone)
        if local.date() == day and local.minute:
            raise SourceContractError(f"{symbol}: an hour begins at {local:%H:%M}, but IB cuts hours on the clock.")
        day = local.date()


def vendor_table(bars: Sequence[Bar], adjusted: Mapping[date, float] | None = None) -> pa.Table:
    """Bars as VENDOR_SCHEMA, with adjusted closes by date; IB's sign for no volume is -1."""
    count = len(bars)
    missing = pa.nulls(count, pa.float64())
    columns = [
        pa.array([_microseconds(bar.stamp) for bar in bars], pa.int64()).cast(VENDOR_SCHEMA.field("stamp").type),
        *(pa.array([getattr(bar, name) for bar in bars], pa.float64()) for name in ("open", "high", "low", "close")),
        pa.array([bar.volume if _told(bar.volume) else None for bar in bars], pa.float64()),
        pa.array([(adjusted or {}).get(bar.stamp) for bar in bars], pa.float64()),
        missing,
        missing,
    ]
    return pa.table(columns, schema=VENDOR_SCHEMA)


def _told(volume: float) -> bool:
    return math.isfinite(volume) and volume >= 0


def _microseconds(stamp: date | datetime) -> int:
    """Of an aware moment, or of a date's midnight in UTC."""
    moment = stamp if isinstance(stamp, datetime) else datetime.combine(stamp, clock_time(), UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
