"""Tables as a terminal, a spreadsheet and a program read them."""

import json
from datetime import UTC, datetime

import pyarrow as pa

from pipelines.cli.tables import print_csv, print_json, print_rows


def test_numbers_go_right_and_text_goes_left(capsys):
    print_rows(["name", "return"], [["a", "1.00 %"], ["long name", "-12.34 %"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[3:5] == [" a            1.00 % ", " long name  -12.34 % "]


def test_a_terminal_that_is_too_narrow_loses_no_figure(capsys, monkeypatch):
    monkeypatch.setattr("pipelines.cli.tables._PIPE_WIDTH", 20)
    print_rows(["name", "a", "b", "c"], [["x", "1,548.32 %", "1,548.33 %", "1,548.34 %"]])
    told = capsys.readouterr().out
    assert [figure in told for figure in ("1,548.32 %", "1,548.33 %", "1,548.34 %")] == [True, True, True]


def test_square_brackets_are_text_and_not_mark_up(capsys):
    print_rows(["what"], [["[red]AAPL[/red]"]])
    assert "[red]AAPL[/red]" in capsys.readouterr().out


def test_csv_writes_null_as_an_empty_field(capsys):
    print_csv(pa.table({"a": [1, None], "b": ["x,y", "z"]}))
    assert capsys.readouterr().out == 'a,b\n1,"x,y"\n,z\n'


def test_json_writes_times_as_iso_and_nan_as_null(capsys):
    print_json([{"ts": datetime(2024, 1, 2, 21, tzinfo=UTC), "x": float("nan"), "n": 3}])
    assert json.loads(capsys.readouterr().out) == [{"ts": "2024-01-02T21:00:00+00:00", "x": None, "n": 3}]
