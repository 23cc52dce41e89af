"""`barloom gateway record`: five-second bars from the live stream into raw batches.

Belongs here: the screen, when it ends. Does not belong here: recording (see `broker.ib.recorder`).
"""

import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipelines.cli.tables import say
from pipelines.gateways import Purpose, open_session, session_settings
from pipelines.settings import load_settings


def record(
    *,
    symbols: Annotated[list[str], Parameter(consume_multiple=True, negative_iterable="")],
    minutes: float | None = None,
    host: str | None = None,
    port: int | None = None,
) -> int:
    """Record five-second bars as raw batches until Ctrl-C; exit code 1 when a stream ended before.

    Args:
        symbols: One or more symbols, for example `--symbols SPY EUR.USD`.
        minutes: How long; until Ctrl-C or a signal to end unless given.
        host: Where the gateway listens; the setting unless given.
        port: Its port; the setting unless given.
    """
    from broker.ib.contracts import ContractBook, parse_contract
    from broker.ib.recorder import Recorder
    from pipelines.errors import SettingsError
    from warehouse.store import Warehouse

    settings, wanted = load_settings(), list(dict.fromkeys(symbols))
    if minutes is not None and not minutes > 0:
        raise SettingsError(f"minutes: {minutes:g} is not above 0.")
    for symbol in wanted:
        parse_contract(symbol)
    with (
        open_session(session_settings(settings, Purpose.RECORD, host=host, port=port)) as session,
        _until_told_to_end() as stop,
    ):
        contracts = ContractBook(session, settings.data_dir / "ib" / "contracts.json")
        say(f"recording {', '.join(wanted)} into {Path(settings.data_dir) / 'raw' / '5s'}; Ctrl-C ends it")
        timer = threading.Timer((minutes or 0) * 60, stop.set)
        timer.daemon = True
        if minutes is not None:
            timer.start()
        try:
            done = Recorder(session, contracts, Warehouse(settings.data_dir)).run(wanted, stop, _told)
        finally:
            timer.cancel()
    for symbol, reason in done.ended.items():
        sys.stderr.write(f"{symbol}: the stream is over, {reason}\n")
    say(", ".join(f"{symbol} {count}" for symbol, count in done.bars.items()) + " bars recorded")
    return 1 if done.ended else 0


@contextmanager
def _until_told_to_end() -> Iterator[threading.Event]:
    """An event that Ctrl-C and a signal to end set, instead of what they do otherwise."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _told(bars: Mapping[str, int]) -> None:
    sys.stderr.write("  ".join(f"{symbol} {count}" for symbol, count in bars.items()) + "\n")
