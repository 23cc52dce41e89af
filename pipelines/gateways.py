"""Sessions with the gateway that the settings name.

Belongs here: from settings to `SessionSettings`, one client id a purpose, the source behind a session. Does not belong
here: the session itself (see `broker.ib`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Protocol

from warehouse.errors import SourceError

if TYPE_CHECKING:
    from broker.ib.history import IBSource
    from broker.ib.session import Session
    from broker.ib.settings import SessionSettings
    from pipelines.resources import SourceResource
    from warehouse.calendar import TradingCalendar


class GatewayPlace(Protocol):
    """What settings, and resources made of them, say about the gateway."""

    ib_host: str
    ib_port: int
    ib_client_id: int
    ib_account: str | None
    ib_reset: str

    @property
    def trading_mode(self) -> str:
        """Paper or live."""


class Purpose(IntEnum):
    """What a session is for, as the distance of its client id from the setting: two purposes never meet on one id."""

    TRADE = 0
    DOWNLOAD = 1
    CHECK = 2
    RECORD = 3
    EMERGENCY = 4


def session_settings(
    settings: GatewayPlace, purpose: Purpose, *, host: str | None = None, port: int | None = None
) -> "SessionSettings":
    """How to reach the gateway for a purpose; `host` and `port` overrule the settings.

    Raises:
        GatewayError: port and trading mode contradict each other, or the reset window is none.
    """
    from broker.ib.settings import ResetWindow, SessionSettings, TradingMode

    return SessionSettings(
        host=host or settings.ib_host,
        port=port or settings.ib_port,
        mode=TradingMode(settings.trading_mode),
        account=settings.ib_account,
        client_id=settings.ib_client_id + purpose,
        reset=ResetWindow.parse(settings.ib_reset),
    )


@contextmanager
def open_session(wanted: "SessionSettings", *, turn_seconds: float = 0.0) -> "Iterator[Session]":
    """A session that is READY, and ends with the block.

    Args:
        wanted: where the gateway is, and who we are.
        turn_seconds: how long to wait for another run of ours that uses the same client id.

    Raises:
        SourceError: no gateway answers, or it keeps back what a session needs.
        WrongAccountError: the account does not fit.
    """
    from broker.errors import GatewayNotReadyError, GatewayUnreachableError

    try:
        session = _opened(wanted, monotonic() + turn_seconds)
    except (GatewayUnreachableError, GatewayNotReadyError) as error:
        raise SourceError(f"ib: {str(error).rstrip('.')}; {_ADVICE}") from None
    with session:
        yield session


def _opened(wanted: "SessionSettings", deadline: float) -> "Session":
    from broker.errors import ClientIdInUseError
    from broker.ib.session import Session

    while True:
        session = Session(wanted)
        try:
            session.open()
        except ClientIdInUseError:
            if monotonic() >= deadline:
                raise
            sleep(_ASK_AGAIN)
        else:
            return session


@contextmanager
def download_source(resource: "SourceResource", calendar: "TradingCalendar") -> "Iterator[IBSource]":
    """IB's history through one session, which ends with the block.

    Raises:
        SourceError: no gateway answers, or it keeps back what a session needs.
        GatewayError: port, account and trading mode do not fit.
    """
    from broker.ib.contracts import ContractBook
    from broker.ib.history import IBSource
    from broker.ib.pacing import Pacer, PacingLimits

    with open_session(session_settings(resource, Purpose.DOWNLOAD), turn_seconds=_TURN) as session:
        contracts = ContractBook(session, Path(resource.ib_contracts) if resource.ib_contracts else None)
        pacer = Pacer(PacingLimits(requests=resource.ib_requests))
        yield IBSource(session, contracts, pacer, calendar, seconds=resource.ib_answer_seconds)


_TURN = 600.0  # seconds a download waits for another one: two would share IB's limits without knowing
_ASK_AGAIN = 1.0
_ADVICE = "start TWS, IB Gateway or `barloom gateway simulate`, and see `barloom gateway check`."
