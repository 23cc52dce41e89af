"""Names that the ledger gives: of deployments and of orders.

Belongs here: how they are spelled. Does not belong here: whether they exist (see `store`).
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from warehouse.errors import InvalidRequestError

LONGEST_DEPLOYMENT = 20
LONGEST_REFERENCE = 40
_DEPLOYMENT = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST_DEPLOYMENT - 1}}}")
_REFERENCE = re.compile(
    rf"(?P<deployment>{_DEPLOYMENT.pattern})/(?P<session>\d{{8}})/(?P<time>\d{{6}})/(?P<seq>\d{{1,3}})"
)


@dataclass(frozen=True, slots=True)
class OrderReference:
    """What a reference says; `bar_time` is the time of day in UTC."""

    deployment: str
    session: date
    bar_time: time
    sequence: int


def check_deployment(name: str) -> str:
    """The name, if a deployment may have it.

    Raises:
        InvalidRequestError: it is too long, or holds other characters than letters, digits, `_`, `.` and `-`.
    """
    if not _DEPLOYMENT.fullmatch(name):
        raise InvalidRequestError(
            f"deployment: {name!r} must be 1 to {LONGEST_DEPLOYMENT} letters, digits, '_', '.' or '-'"
            " and begin with a letter or digit."
        )
    return name


def order_ref(deployment: str, session: date, bar_ts: datetime, sequence: int) -> str:
    """The reference of an order: the same decision has the same one, whoever makes it again.

    Args:
        deployment: its name.
        session: the exchange session.
        bar_ts: close of the bar that was decided on, aware UTC, whole seconds; a session has each time of day once.
        sequence: which order of that bar, from 0.

    Raises:
        InvalidRequestError: an argument cannot be spelled.

    >>> order_ref("sma_aapl", date(2024, 1, 5), datetime(2024, 1, 5, 21, tzinfo=UTC), 0)
    'sma_aapl/20240105/210000/0'
    """
    check_deployment(deployment)
    if bar_ts.tzinfo is None or bar_ts.microsecond:
        raise InvalidRequestError(f"bar_ts: {bar_ts.isoformat()} must be in whole seconds and have a time zone.")
    if not 0 <= sequence <= 999:
        raise InvalidRequestError(f"sequence: {sequence} is not in 0 to 999.")
    return f"{deployment}/{session:%Y%m%d}/{bar_ts.astimezone(UTC):%H%M%S}/{sequence}"


def parse_order_ref(reference: str) -> OrderReference | None:
    """What a reference says, or None where it is not one of ours.

    >>> parse_order_ref("sma_aapl/20240105/210000/0").deployment
    'sma_aapl'
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        return None
    try:
        session = datetime.strptime(found["session"], "%Y%m%d").replace(tzinfo=UTC).date()
        bar_time = datetime.strptime(found["time"], "%H%M%S").replace(tzinfo=UTC).time()
    except ValueError:
        return None
    parsed = OrderReference(found["deployment"], session, bar_time, int(found["seq"]))
    return parsed if found["seq"] == str(parsed.sequence) else None
