"""Sessions with the gateway that the settings name.

Belongs here: from settings to `SessionSettings`, one client id a purpose. Does not belong here: the session itself (see
`broker.ib`).
"""

from enum import IntEnum
from typing import TYPE_CHECKING

from pipelines.settings import Settings

if TYPE_CHECKING:
    from broker.ib.settings import SessionSettings


class Purpose(IntEnum):
    """What a session is for, as the distance of its client id from the setting: two purposes never meet on one id."""

    TRADE = 0
    DOWNLOAD = 1
    CHECK = 2
    RECORD = 3
    EMERGENCY = 4


def session_settings(
    settings: Settings, purpose: Purpose, *, host: str | None = None, port: int | None = None
) -> "SessionSettings":
    """How to reach the gateway for a purpose; `host` and `port` overrule the settings.

    Raises:
        GatewayError: port and trading mode contradict each other.
    """
    from broker.ib.settings import SessionSettings, TradingMode

    return SessionSettings(
        host=host or settings.ib_host,
        port=port or settings.ib_port,
        mode=TradingMode(settings.trading_mode),
        account=settings.ib_account,
        client_id=settings.ib_client_id + purpose,
    )
