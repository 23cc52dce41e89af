"""The contract every source keeps.

Belongs here: request, answer and protocol. Does not belong here: any vendor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol

import pyarrow as pa

from warehouse.errors import InvalidRequestError, SourceContractError
from warehouse.resolution import Resolution
from warehouse.schema import VENDOR_SCHEMA

Stamped = Literal["open", "close", "session"]


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

    `table` has VENDOR_SCHEMA. `stamped` says what `stamp` marks: the open of the bar, its close, or, for
    daily bars, the `session` date at midnight UTC. An empty table means "the vendor says there is none";
    a failure is an exception, never an empty table.
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
