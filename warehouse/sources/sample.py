"""The sample that ships with barloom: five US stocks, daily, 2000-03-01 to 2013-03-01.

Belongs here: reading that one file as a source. Does not belong here: any other data.

Prices and volume are unadjusted; `adj_close` is adjusted for splits and dividends in a snapshot of a later day.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.errors import CorruptFileError, SourceError, UnknownSymbolError
from warehouse.resolution import Resolution
from warehouse.schema import VENDOR_SCHEMA
from warehouse.sources.protocol import BarRequest, VendorBars

SAMPLE_FILE = Path(__file__).parent / "sample_data" / "stocks.parquet"
SAMPLE_SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


@dataclass(frozen=True, slots=True)
class SampleSource:
    """Daily bars of AAPL, FB, GOOG, IBM and MSFT; stamped with the session at midnight UTC."""

    file: Path = SAMPLE_FILE

    @property
    def name(self) -> str:
        """Stored with every batch."""
        return "sample"

    def symbols(self) -> tuple[str, ...]:
        """The five symbols, sorted."""
        return SAMPLE_SYMBOLS

    def fetch(self, request: BarRequest) -> VendorBars:
        """Bars of the request; empty where the sample has none.

        Raises:
            UnknownSymbolError: not one of the five.
            SourceError: not daily.
            CorruptFileError: the file of the sample cannot be read.
        """
        if request.symbol not in SAMPLE_SYMBOLS:
            raise UnknownSymbolError(
                f"symbol: {request.symbol!r} is not in the sample data, which has {', '.join(SAMPLE_SYMBOLS)}."
            )
        if request.resolution is not Resolution.DAILY:
            raise SourceError(f"resolution: the sample data has 1d bars only, not {request.resolution.value}.")
        try:
            table = pq.read_table(self.file, filters=pc.field("symbol") == request.symbol)
        except (pa.ArrowException, OSError) as error:
            raise CorruptFileError(f"{self.file}: the sample data cannot be read.") from error
        inside = pc.and_(
            pc.greater_equal(table["date"], pa.scalar(request.start)),
            pc.less_equal(table["date"], pa.scalar(request.end)),
        )
        return VendorBars(_to_vendor(table.filter(inside)), "session")


def _to_vendor(table: pa.Table) -> pa.Table:
    stamp = table["date"].cast(pa.timestamp("us")).cast(VENDOR_SCHEMA.field("stamp").type)
    missing = pa.nulls(table.num_rows, pa.float64())
    prices = [table[name].cast(pa.float64()) for name in ("open", "high", "low", "close", "volume", "adj_close")]
    return pa.table([stamp, *prices, missing, missing], schema=VENDOR_SCHEMA)
