"""The contract every source keeps.

Belongs here: request, answer and protocol. Does not belong here: any vendor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa

from warehouse.errors import InvalidRequestError, SourceContractError
from warehouse.resolution import Resolution
from warehouse.schema import VENDOR_SCHEMA

Stamped = Literal["open", "clock_open", "close", "session"]


@dataclass(frozen=True, slots=True)
class BarRequest:
    """One symbol, one resolution, a closed range of exchange dates."""

    symbol: str
    resolution: Resolution
    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise InvalidRequestError(f"end: {self.end} lies before start {self.start}.")


@dataclass(frozen=True, slots=True)
class VendorBars:
    """What a vendor answered: rows as sent, and how to read their stamps.

    `table` has VENDOR_SCHEMA. `stamped` says what `stamp` marks: the open of the bar, the open of a bar that ends
    where the exchange's clock shows a full bar length (`clock_open`: an hour that opens at 09:30 ends at 10:00), its
    close, or, for daily bars, the `session` date at midnight UTC. An empty table means "the vendor says there is
    none"; a failure is an exception, never an empty table.
    """

    table: pa.Table
    stamped: Stamped
    what_to_show: str = "TRADES"

    def __post_init__(self) -> None:
        if not self.table.schema.equals(VENDOR_SCHEMA):
            raise SourceContractError(f"source table: columns {self.table.schema.names} break the vendor schema.")


class BarSource(Protocol):
    """A vendor of bars."""

    @property
    def name(self) -> str:
        """Short name, stored with every batch."""
        ...

    def symbols(self) -> Sequence[str]:
        """Symbols the source can name, sorted; empty when it cannot list them."""
        ...

    def fetch(self, request: BarRequest) -> VendorBars:
        """Bars of the request.

        Raises:
            UnknownSymbolError: the vendor does not know the symbol.
            SourceContractError: the answer cannot be read as bars.
            SourceError: any other failure.
        """
        ...


@runtime_checkable
class PagedSource(BarSource, Protocol):
    """A vendor that answers a long range only in parts; each part is stored before the next is asked for."""

    def pages(self, request: BarRequest) -> Sequence[BarRequest]:
        """Requests that together cover a range, in the order in which to fetch them.

        Raises:
            UnknownSymbolError: the vendor does not know the symbol.
            SourceError: any other failure.
        """
        ...

    def most_overlap(self, resolution: Resolution) -> int:
        """How many stored sessions are worth asking for again, where every few of them cost a request."""
        ...

    def seconds_for(self, pages: int) -> float:
        """How long the vendor's limits make so many further pages take at least."""
        ...

    def stop(self) -> None:
        """Ask nothing more: fetches under way end soon, with an error."""
        ...


def pages_of(source: BarSource, request: BarRequest) -> Sequence[BarRequest]:
    """The requests that a source wants a range to be split into: itself for most."""
    return source.pages(request) if isinstance(source, PagedSource) else (request,)


def overlap_of(source: BarSource, resolution: Resolution, wanted: int) -> int:
    """How many stored sessions to ask a source for again."""
    return min(wanted, source.most_overlap(resolution)) if isinstance(source, PagedSource) else wanted
