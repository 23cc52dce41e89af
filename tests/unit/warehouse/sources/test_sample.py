from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from warehouse.errors import CorruptFileError, InvalidRequestError, SourceContractError, SourceError, UnknownSymbolError
from warehouse.resolution import Resolution
from warehouse.schema import ACTIONS_SCHEMA
from warehouse.sources import BarRequest, VendorBars
from warehouse.sources.sample import SampleSource

YEAR = (date(2000, 1, 1), date(2000, 12, 31))


def test_range_is_closed_and_stamped_with_the_session() -> None:
    answer = SampleSource().fetch(BarRequest("AAPL", Resolution.DAILY, date(2000, 3, 1), date(2000, 3, 2)))
    assert answer.stamped == "session"
    assert answer.table["stamp"].to_pylist() == [datetime(2000, 3, d, tzinfo=UTC) for d in (1, 2)]
    first = answer.table.to_pylist()[0]
    assert (first["open"], first["high"], first["low"], first["close"]) == (118.56, 132.06, 118.5, 130.31)
    assert (first["volume"], first["adj_close"]) == (9616100.0, 4.186662803811)


def test_years_before_a_listing_are_empty_and_no_error() -> None:
    assert SampleSource().fetch(BarRequest("FB", Resolution.DAILY, *YEAR)).table.num_rows == 0


def test_unknown_symbol_is_told_what_there_is() -> None:
    with pytest.raises(
        UnknownSymbolError, match="'SPY' is not in the sample data, which has AAPL, FB, GOOG, IBM, MSFT"
    ):
        SampleSource().fetch(BarRequest("SPY", Resolution.DAILY, *YEAR))


def test_other_resolutions_are_refused_and_not_answered_with_days() -> None:
    with pytest.raises(SourceError, match="the sample data has 1d bars only, not 1m"):
        SampleSource().fetch(BarRequest("AAPL", Resolution.MINUTE, *YEAR))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match="the sample data cannot be read"):
        SampleSource(tmp_path / "gone.parquet").fetch(BarRequest("AAPL", Resolution.DAILY, *YEAR))


def test_requests_and_answers_keep_the_contract() -> None:
    with pytest.raises(InvalidRequestError, match="end: 2000-01-01 lies before start 2000-12-31"):
        BarRequest("AAPL", Resolution.DAILY, YEAR[1], YEAR[0])
    with pytest.raises(SourceContractError, match="break the vendor schema"):
        VendorBars(ACTIONS_SCHEMA.empty_table(), "open")
