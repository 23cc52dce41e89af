"""What a person sees in the UI: tables, plots, schemas and links as Dagster metadata.

Belongs here: turning plain values and Arrow tables into metadata. Does not belong here: computing them.

Metadata is stored inside the event, so plots are PNGs of a few hundred bytes, drawn without a plotting library.
"""

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import numpy.typing as npt
import pyarrow as pa

_INK, _PAPER = (36, 91, 168), (255, 255, 255)


_MEANING: Mapping[str, str] = {
    "symbol": "As the vendor prints it.",
    "resolution": "Length of the bar: 1d, 1h, 1m or 5s.",
    "ts": "Close of the bar, UTC.",
    "stamp": "The vendor's stamp in UTC; `stamped` says what it marks.",
    "stamped": "What the vendor's stamp marks: open, close or session.",
    "session": "Exchange trading day.",
    "regular": "Inside regular trading hours.",
    "volume": "Shares.",
    "adj_close": "The vendor's own split and dividend adjusted close, if it sends one.",
    "split_factor": "Multiply a price by it: split-adjusted price.",
    "dividend_factor": "Multiply again: total-return price.",
    "fetched_at": "When the batch arrived, UTC; of two batches with the same bar the later wins.",
    "batch_id": "The delivery that the row came with.",
    "what_to_show": "Kind of price: trades, mid, bid or ask.",
    "ex_date": "First session that trades on the new scale.",
    "ratio": "Factor for all earlier prices: a 2:1 split is 0.5.",
    "evidence": "factor: the vendor says so; overlap: two deliveries differ by this ratio.",
    "rule": "Id of the quality rule.",
    "severity": "What a failure of the rule means: INFO, WARN, or ERROR, which stops the use of the bars.",
    "passed": "Empty when the rule could not be computed.",
    "threshold": "In the rule's own unit.",
    "measured": "In the rule's own unit; empty when it could not be computed.",
    "offending": "Rows in the findings file.",
}


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """Arrow schema as the UI's column list, with what a column means where its name does not say it."""
    return dg.TableSchema(
        columns=[dg.TableColumn(field.name, str(field.type), _MEANING.get(field.name)) for field in schema]
    )


def sparkline(
    values: Sequence[float] | npt.NDArray[np.float64], *, label: str, width: int = 320, height: int = 56
) -> dg.MarkdownMetadataValue:
    """A line plot as markdown with an inline PNG; without two finite values it says that there is nothing to draw."""
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    if len(array) < 2:
        return dg.MetadataValue.md(f"{label}: nothing to draw")
    encoded = base64.b64encode(line_png(array, width, height)).decode()
    return dg.MetadataValue.md(f"![{label}](data:image/png;base64,{encoded})")


def line_png(values: npt.NDArray[np.float64], width: int, height: int) -> bytes:
    """PNG bytes of a line through the values, one vertical stroke a column from its lowest to its highest value."""
    edges = np.linspace(0, len(values) - 1, width + 1)
    low, high = float(values.min()), float(values.max())
    scale = (height - 1) / (high - low) if high > low else 0.0
    pixels = np.zeros((height, width), dtype=np.uint8)
    for column in range(width):
        part = values[int(edges[column]) : int(np.ceil(edges[column + 1])) + 1]
        top = height - 1 - round((float(part.max()) - low) * scale)
        bottom = height - 1 - round((float(part.min()) - low) * scale)
        pixels[top : bottom + 1, column] = 1
    return _png(pixels)


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """PNG of a 0/1 image with a two-colour palette (PNG specification, colour type 3, bit depth 1)."""
    height, width = pixels.shape
    rows = np.packbits(pixels, axis=1)
    data = np.hstack([np.zeros((height, 1), dtype=np.uint8), rows]).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"PLTE", bytes([*_PAPER, *_INK])), (b"IDAT", zlib.compress(data, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def figures_table(figures: Mapping[str, Any]) -> dg.TableMetadataValue:
    """Name and value of each figure, as a table; an unknown value stays empty."""
    records = [dg.TableRecord({"figure": name, "value": _text(value)}) for name, value in figures.items()]
    columns = [dg.TableColumn("figure", "string"), dg.TableColumn("value", "string")]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def records_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> dg.TableMetadataValue:
    """Rows as a table of texts in the given columns."""
    records = [dg.TableRecord({name: _text(row.get(name)) for name in columns}) for row in rows]
    schema = dg.TableSchema([dg.TableColumn(name, "string") for name in columns])
    return dg.MetadataValue.table(records, schema=schema)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def file_link(path: Path) -> dg.PathMetadataValue:
    """A path that the UI offers to copy, absolute so that it works from anywhere on the machine."""
    return dg.MetadataValue.path(path.resolve())
