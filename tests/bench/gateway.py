"""Our session against the gateway simulator over loopback: orders, history, streams, memory.

Belongs here: what the way to the broker costs; the simulator runs in a process of its own. Does not belong here: the
simulated market's own speed alone.
"""

import json
import resource
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import backtrader as bt
import numpy as np
import pyarrow as pa

from broker.emergency import stop_everything
from broker.ib.messages import BarUpdate, Contract, OrderTicket
from broker.ib.requests import HistoryRequest, SubscriptionRequest
from broker.ib.session import Session
from broker.ib.settings import SessionSettings
from broker.store import Store, run_live
from risk.guard import RiskGuard
from risk.limits import Limits
from warehouse.calendar import get_calendar
from warehouse.resolution import Resolution
from warehouse.schema import CLEAN_SCHEMA
from warehouse.store import Warehouse

ORDERS = 200
SYMBOLS = 200
_FIRST, _LAST = date(2024, 1, 2), date(2024, 1, 12)
_MINUTE = 60_000_000
_STEPS = 40


def measure() -> Iterator[tuple[str, list[float], float]]:
    """Name, measured values and target of each."""
    with TemporaryDirectory() as folder:
        record(Path(folder), [f"S{number:03d}" for number in range(SYMBOLS)])
        with gateway(Path(folder)) as desk:
            trips = _round_trips(desk)
            yield "order: decided, filled, told over TCP, median, ms", [statistics.median(trips)], 10.0
            yield (
                "order: decided, filled, told over TCP, 99th percentile, ms",
                [statistics.quantiles(trips, n=100)[98]],
                50.0,
            )
            for count in (1, 50):
                name = f"emergency stop: seconds for {count} positions and {count} orders"
                yield name, [_emergency(desk, count)], 2.0 if count == 1 else 15.0
            yield "history over TCP, seconds for 100,000 bars", _history(desk), 10.0
            lags, grown = _streams(desk)
            quarter = len(lags) // 4
            later = statistics.median(lags[-quarter:]) / statistics.median(lags[:quarter])
            yield f"{SYMBOLS} streams: seconds for a minute of five-second bars", lags, 1.0
            yield f"{SYMBOLS} streams: the last minutes' time over the first ones'", [later], 1.5
            yield "memory grown over 100,000 streamed bars, MB", [grown], 20.0


class Desk:
    """A simulator process: where it listens and how to command it."""

    def __init__(self, port: int, control: int) -> None:
        self.port, self.control = port, control

    def now(self) -> datetime:
        """The market's time."""
        return datetime.fromisoformat(self.command("status")["now"])

    def command(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Give a command and wait for its answer."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self.control}/{name}", json.dumps(arguments).encode())
        with urllib.request.urlopen(asked, timeout=120) as answer:  # noqa: S310 (loopback)
            told: dict[str, Any] = json.load(answer)
        return told


@contextmanager
def gateway(folder: Path) -> Iterator[Desk]:
    """A stepped simulator over a warehouse, in its own process."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from pathlib import Path; from datetime import date;"
        "from broker.simulator.background import BackgroundGateway;"
        "from broker.simulator.settings import ClockMode, SimulatorSettings;"
        "from warehouse.store import Warehouse;"
        "s = SimulatorSettings(port=0, control_port=0, clock=ClockMode.STEPPED, fill_at_once=True,"
        " start=date(2024, 1, 8));"
        "g = BackgroundGateway(s, Warehouse(Path(sys.argv[2]))).__enter__();"
        "print(g.port, g.control_port, flush=True); sys.stdin.read(); g.__exit__(None, None, None)"
    )
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", program, root, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdin is not None  # noqa: PT018 (pipes were asked for)
        try:
            desk = Desk(*map(int, child.stdout.readline().split()))
            desk.command("step", bars=3)
            yield desk
        finally:
            child.stdin.close()
            child.wait(30)


def _session(desk: Desk) -> Session:
    return Session(SessionSettings(port=desk.port, client_id=1, reset=None))


def _round_trips(desk: Desk) -> list[float]:
    """Milliseconds from a strategy's decision to its being told that the order is filled and paid for."""
    with _session(desk) as session, TemporaryDirectory() as nothing:
        session.open()
        store = Store(session, Warehouse(Path(nothing)), get_calendar("XNYS"), clock=desk.now)
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.adddata(store.getdata("S000", Resolution.MINUTE, qcheck=0.05))
        guard = RiskGuard(
            Limits(), session_of=lambda moment: moment.date(), session_close=get_calendar("XNYS").close_utc
        )
        cerebro.setbroker(
            store.getbroker(guard=guard, reference=lambda bar, number: f"bench/{bar:%Y%m%d/%H%M%S}/{number}")
        )
        trips: list[float] = []
        cerebro.addstrategy(RoundTrips, trips=trips, store=store)
        player = threading.Thread(target=_play, args=(desk, store, trips))
        player.start()
        run_live(cerebro)
        player.join()
        return trips


class RoundTrips(bt.Strategy):  # type: ignore[misc]
    """Buys and sells in turn, one order a bar."""

    params = (("trips", None), ("store", None))

    def __init__(self) -> None:
        self.sent = 0.0

    def next(self) -> None:
        """Send an order on a live bar."""
        if self.data.is_live():
            self.sent = time.perf_counter()
            send = self.sell if self.position.size else self.buy
            send(size=10)

    def notify_order(self, order: bt.Order) -> None:
        """Note how long it took."""
        if order.status == order.Completed:
            self.p.trips.append((time.perf_counter() - self.sent) * 1000)
            if len(self.p.trips) >= ORDERS:
                self.p.store.end()


def _play(desk: Desk, store: Store, trips: list[float]) -> None:
    """Play a bar whenever the order of the last one is done, and a while after where there was none."""
    end = time.monotonic() + 240
    while not store.ended and time.monotonic() < end:
        done = len(trips)
        desk.command("step", bars=1)
        patience = time.monotonic() + 1.0
        while len(trips) == done and time.monotonic() < patience:
            time.sleep(0.002)
        time.sleep(0.1)  # the client library holds more than 45 messages a second back
    store.end()


def _emergency(desk: Desk, count: int) -> float:
    """Seconds from connecting until the broker has proved the account flat."""
    with _session(desk) as trader:
        trader.open()
        for number in range(count):
            contract = trader.contract_details(Contract(f"S{number:03d}"))[0].contract
            for kind, quantity, limit in (("MKT", 10, None), ("LMT", 1, Decimal(1))):
                order_id = trader.next_order_id()
                trader.place_order(
                    contract, OrderTicket(order_id, "BUY", Decimal(quantity), kind, trader.account, limit_price=limit)
                )
        held = trader.synchronize()
        if (len(held.positions), len(held.open_orders)) != (count, count):
            raise RuntimeError(f"{len(held.positions)} positions and {len(held.open_orders)} orders, not {count} each")
        began = time.perf_counter()
        with Session(SessionSettings(port=desk.port, client_id=2, reset=None)) as session:
            report = stop_everything(session, session.open(), reference=f"bench-{count}")
            seconds = time.perf_counter() - began
        if not report.flat:
            raise RuntimeError(f"not flat: {report}")
        return seconds


def _history(desk: Desk) -> list[float]:
    """Seconds for 100,000 bars, asked by the day as IB wants it."""
    with _session(desk) as session:
        session.open()
        seconds = []
        for number in range(5):
            contract = session.contract_details(Contract(f"S{number:03d}"))[0].contract
            request = HistoryRequest(contract, None, "4 D", "1 min")
            began = time.perf_counter()
            bars = session.history(request)
            seconds.append((time.perf_counter() - began) / len(bars) * 100_000)
        return seconds


def _streams(desk: Desk) -> tuple[list[float], float]:
    """Seconds from a step of the market to its last message, step by step, and megabytes grown meanwhile."""
    with _session(desk) as session:
        session.open()
        heard = session.listen()
        for number in range(SYMBOLS):
            contract = session.contract_details(Contract(f"S{number:03d}"))[0].contract
            session.subscribe(SubscriptionRequest(contract, "real_time_bars"))
        session.server_time()
        lags, before = [], 0.0
        for step in range(_STEPS + 2):
            began = time.perf_counter()
            desk.command("step", bars=1)
            left = SYMBOLS * 12  # five-second bars of a minute
            while left:
                left -= isinstance(heard.get(timeout=30), BarUpdate)
            lags.append(time.perf_counter() - began)
            if step == 1:
                before = _megabytes()
        return lags[2:], max(_megabytes() - before, 0.0)


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def record(root: Path, symbols: list[str]) -> None:
    """Minutes of random walks in cents."""
    calendar, warehouse = get_calendar("XNYS"), Warehouse(root)
    days, closes = [], []
    for number, opens, ends in zip(calendar.days, calendar.opens, calendar.closes, strict=True):
        if _FIRST <= date(1970, 1, 1) + timedelta(days=int(number)) <= _LAST:
            moments = np.arange(opens + _MINUTE, ends + 1, _MINUTE)
            closes.append(moments)
            days.append(np.full(len(moments), number))
    ts, session = np.concatenate(closes), np.concatenate(days)
    for seed, symbol in enumerate(symbols):
        warehouse.write_clean(symbol, Resolution.MINUTE, _table(symbol, ts, session, np.random.default_rng(seed)))


def _table(symbol: str, ts: Any, session: Any, rng: np.random.Generator) -> pa.Table:
    count = len(ts)
    close = np.round(50 + np.cumsum(rng.normal(0, 0.01, count)), 2)
    opened = np.concatenate([[50.0], close[:-1]])
    columns = {
        "symbol": pa.array([symbol] * count), "resolution": pa.array([Resolution.MINUTE.value] * count),
        "ts": pa.array(ts, pa.int64()).cast(pa.timestamp("us", tz="UTC")),
        "session": pa.array(session.astype(np.int32), pa.int32()).cast(pa.date32()),
        "regular": pa.array(np.ones(count, bool)), "open": pa.array(opened),
        "high": pa.array(np.maximum(opened, close) + 0.01), "low": pa.array(np.minimum(opened, close) - 0.01),
        "close": pa.array(close), "volume": pa.array(rng.integers(10_000, 50_000, count).astype(float)),
        "split_factor": pa.array(np.ones(count)), "dividend_factor": pa.array(np.ones(count)),
    }  # fmt: skip
    return pa.table([columns[f.name].cast(f.type) for f in CLEAN_SCHEMA], schema=CLEAN_SCHEMA)


if __name__ == "__main__":
    for name, measured, target in measure():
        value = statistics.median(measured)
        sys.stdout.write(f"{name:<60} {value:10.3f}  target {target:8.3f}\n")
        sys.stdout.flush()
