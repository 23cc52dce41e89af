from datetime import timedelta

import pytest

from warehouse.errors import InvalidRequestError
from warehouse.resolution import Resolution


@pytest.mark.parametrize(
    ("text", "value"), [("Daily", "1d"), ("1d", "1d"), (" HOUR ", "1h"), ("Minute", "1m"), ("5s", "5s")]
)
def test_spellings_that_users_type_are_read(text: str, value: str) -> None:
    assert Resolution.parse(text).value == value


def test_unknown_resolution_is_named_with_what_exists() -> None:
    with pytest.raises(InvalidRequestError, match=r"resolution: '2h' is not one of 1d \(daily\)"):
        Resolution.parse("2h")


def test_only_daily_bars_are_not_intraday() -> None:
    assert [r.intraday for r in Resolution] == [False, True, True, True]
    assert Resolution.HOURLY.length == timedelta(hours=1)
