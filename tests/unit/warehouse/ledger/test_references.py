"""Names of deployments and orders."""

from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.errors import InvalidRequestError
from warehouse.ledger.references import OrderReference, check_deployment, order_ref, parse_order_ref

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,19}", fullmatch=True)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0)
)


@given(name=NAMES, session=st.dates(date(2000, 1, 1), date(2099, 1, 1)), moment=MOMENTS, sequence=st.integers(0, 999))
def test_a_reference_says_what_it_was_made_of_in_forty_characters(name, session, moment, sequence):
    reference = order_ref(name, session, moment, sequence)
    assert len(reference) <= 40
    assert parse_order_ref(reference) == OrderReference(name, session, moment.time(), sequence)


def test_the_same_moment_has_the_same_reference_in_any_zone():
    here = datetime(2024, 1, 5, 21, tzinfo=UTC)
    there = here.astimezone(timezone(timedelta(hours=-5)))
    session = date(2024, 1, 5)
    assert order_ref("a", session, there, 0) == order_ref("a", session, here, 0) == "a/20240105/210000/0"


@pytest.mark.parametrize(
    "text", ["", "external:17", "a/20240105/210000", "a/20241305/210000/0", "a/20240105/250000/0",
             "a/20240105/210000/00", "/20240105/210000/0", "a/20240105/210000/1000", f"{'a' * 21}/20240105/210000/0"],
)  # fmt: skip
def test_a_reference_of_another_system_is_none_of_ours(text):
    assert parse_order_ref(text) is None


def test_a_name_of_digits_and_dashes_is_found():
    name = "a-20240105-210000-0"
    parsed = parse_order_ref(order_ref(name, date(2024, 1, 8), datetime(2024, 1, 8, 21, tzinfo=UTC), 7))
    assert parsed == OrderReference(name, date(2024, 1, 8), time(21), 7)


@pytest.mark.parametrize("name", ["", "a" * 21, "a b", "ä", "-a", "a:b", "a\n"])
def test_a_malformed_deployment_is_refused(name):
    with pytest.raises(InvalidRequestError, match="deployment: "):
        check_deployment(name)


@pytest.mark.parametrize(
    ("moment", "sequence", "sentence"),
    [
        (datetime(2024, 1, 5, 21), 0, "bar_ts: 2024-01-05T21:00:00 must be"),  # noqa: DTZ001
        (datetime(2024, 1, 5, 21, 0, 0, 1, tzinfo=UTC), 0, "bar_ts: "),
        (datetime(2024, 1, 5, 21, tzinfo=UTC), 1000, "sequence: 1000 is not in 0 to 999"),
        (datetime(2024, 1, 5, 21, tzinfo=UTC), -1, "sequence: -1 is not in 0 to 999"),
    ],
)
def test_what_a_reference_cannot_spell_is_refused(moment, sequence, sentence):
    with pytest.raises(InvalidRequestError, match=sentence):
        order_ref("a", date(2024, 1, 5), moment, sequence)
