"""What a session needs to know before it connects.

Belongs here: the settings of one session and their checks. Does not belong here: reading them from anywhere.
"""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from broker.errors import GatewayError, WrongAccountError


class TradingMode(StrEnum):
    """Whether orders cost real money."""

    PAPER = "paper"
    LIVE = "live"


IB_PORTS: Final = {4001: TradingMode.LIVE, 4002: TradingMode.PAPER, 7496: TradingMode.LIVE, 7497: TradingMode.PAPER}
"""IB's own ports: Gateway 4001 and 4002, TWS 7496 and 7497."""


@dataclass(frozen=True, slots=True)
class ResetWindow:
    """When IB resets its servers every night, in New York's time: an outage then is expected, orders are not sent."""

    start: time = time(23, 45)
    end: time = time(0, 45)
    timezone: str = "America/New_York"

    @classmethod
    def parse(cls, text: str) -> "ResetWindow | None":
        """The window that a text like `23:45-00:45` names, or None for `none`.

        Raises:
            GatewayError: it is neither.
        """
        if text == "none":
            return None
        first, _, last = text.partition("-")
        try:
            return cls(time.fromisoformat(first), time.fromisoformat(last))
        except ValueError:
            raise GatewayError(f"reset: {text!r} is not like 23:45-00:45, or none.") from None

    def ends(self, now: datetime) -> datetime | None:
        """When the window that `now` (aware) lies in ends; None outside."""
        local = now.astimezone(ZoneInfo(self.timezone))
        for day in (local.date(), local.date() - timedelta(days=1)):
            begin = datetime.combine(day, self.start, local.tzinfo)
            last = day if self.end > self.start else day + timedelta(days=1)
            end = datetime.combine(last, self.end, local.tzinfo)
            if begin <= local < end:
                return end
        return None


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """One session with a gateway; times are seconds.

    Attributes:
        account: the account that is traded; None takes the login's only one.
        client_id: our number among the clients. It never changes by itself: another one would not see our orders.
        connect_seconds: for the socket and the handshake of one attempt.
        sync_seconds: for the account's whole state to be told.
        heartbeat_seconds: between two questions for the gateway's clock.
        answer_seconds: within which the clock must be told, else the socket is taken for dead.
        retry_seconds: wait before the second attempt; doubles from attempt to attempt.
        retry_most_seconds: the longest wait between two attempts.
        reset: the nightly window; None where there is none.
        outage_seconds: how long an outage may last, outside the window or past its end, before it is an alarm.
        competing_seconds: between two tries to get market data back that another session of the user took.
        skew_warning, skew_most: differences between our clock and the gateway's that raise an alarm, and that close
            the gate for orders.
        market_data: 1 live, 3 delayed.
    """

    host: str = "127.0.0.1"
    port: int = 4002
    mode: TradingMode = TradingMode.PAPER
    account: str | None = None
    client_id: int = 10
    connect_seconds: float = 10.0
    sync_seconds: float = 30.0
    heartbeat_seconds: float = 15.0
    answer_seconds: float = 10.0
    retry_seconds: float = 1.0
    retry_most_seconds: float = 60.0
    reset: ResetWindow | None = ResetWindow()
    outage_seconds: float = 120.0
    competing_seconds: float = 30.0
    skew_warning: float = 2.0
    skew_most: float = 30.0
    market_data: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.port <= 65_535:
            raise GatewayError(f"port: {self.port} is not a port.")
        usual = IB_PORTS.get(self.port)
        if usual is not None and usual is not self.mode:
            raise GatewayError(f"port: {self.port} is IB's port for {usual} trading, but the mode is {self.mode}.")
        if self.client_id < 0:
            raise GatewayError(f"client_id: {self.client_id} is below 0.")
        if self.market_data not in {1, 2, 3, 4}:
            raise GatewayError(f"market_data: {self.market_data} is none of 1, 2, 3, 4.")

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"


def choose_account(told: tuple[str, ...], settings: SessionSettings) -> str:
    """The account to trade among those of the login.

    Raises:
        WrongAccountError: the one wanted is not among them, there are several and none is named, or it does not fit
            the mode: paper accounts begin with D, live accounts do not.
    """
    wanted = settings.account
    if wanted is None:
        if len(told) != 1:
            raise WrongAccountError(f"account: the login has {', '.join(told)}; name the one to trade.")
        wanted = told[0]
    elif wanted not in told:
        raise WrongAccountError(f"account: {wanted} is not among the login's {', '.join(told)}.")
    paper = wanted.startswith("D")
    if paper is not (settings.mode is TradingMode.PAPER):
        kind = "a paper account" if paper else "no paper account"
        raise WrongAccountError(f"account: {wanted} is {kind}, but the mode is {settings.mode}.")
    return wanted
