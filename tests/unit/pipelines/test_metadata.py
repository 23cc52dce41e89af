"""What a person sees in the UI."""

import base64
import math
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.metadata import column_schema, figures_table, file_link, line_png, records_table, sparkline


def pixels(png: bytes, width: int) -> np.ndarray:
    """The 0/1 image inside a PNG that `line_png` made."""
    start = png.index(b"IDAT")
    length = int.from_bytes(png[start - 4 : start], "big")
    raw = np.frombuffer(zlib.decompress(png[start + 4 : start + 4 + length]), np.uint8)
    stride = 1 + (width + 7) // 8
    return np.unpackbits(raw.reshape(-1, stride)[:, 1:], axis=1)[:, :width]


def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right():
    image = pixels(line_png(np.arange(100.0), 64, 16), 64)
    tops = image.argmax(axis=0)
    assert image[-1, 0] == 1
    assert image[0, -1] == 1
    assert (np.diff(tops) <= 0).all()


def test_a_spike_of_one_bar_among_thousands_is_seen():
    values = np.zeros(5000)
    values[2500] = 1.0
    assert pixels(line_png(values, 64, 16), 64)[0].sum() >= 1


def test_a_flat_line_is_drawn_and_not_divided_by_zero():
    image = pixels(line_png(np.full(10, 3.0), 64, 16), 64)
    assert image.sum() == 64
    assert image[-1].sum() == 64


def test_a_sparkline_is_a_small_picture_inside_the_text():
    shown = sparkline(np.sin(np.arange(3270) / 50), label="AAPL close").value
    assert shown.startswith("![AAPL close](data:image/png;base64,")
    picture = base64.b64decode(shown.split("base64,")[1].removesuffix(")"))
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(shown) < 4000


@pytest.mark.parametrize("values", [[], [1.0], [math.nan, 2.0]])
def test_too_few_values_are_said_not_drawn(values):
    assert sparkline(values, label="close").value == "close: nothing to draw"


def test_the_column_list_names_arrow_types():
    columns = column_schema(pa.schema([("ts", pa.timestamp("us", tz="UTC")), ("close", pa.float64())])).columns
    assert [(column.name, column.type) for column in columns] == [("ts", "timestamp[us, tz=UTC]"), ("close", "double")]


def test_an_unknown_figure_stays_empty_in_its_table():
    table = figures_table({"Sharpe": 0.123456789, "Sortino": None, "Began": "2001-01-02"})
    assert [record.data["value"] for record in table.records] == ["0.123457", "", "2001-01-02"]


def test_a_table_has_the_asked_columns_in_their_order():
    table = records_table([{"b": 2, "a": 1, "c": 3}], ["a", "b"])
    assert [column.name for column in table.schema.columns] == ["a", "b"]
    assert table.records[0].data == {"a": "1", "b": "2"}


def test_a_link_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert file_link(Path("x.html")).value == str(tmp_path / "x.html")
