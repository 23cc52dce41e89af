"""The library's strategies trade the same in a backtest and through simulator, session, feeds and live broker.

Belongs here: the comparison, fill by fill. Does not belong here: what a strategy decides. Both run on the same minutes
with the same costs and limits, and neither has bars from before the start. What may differ, and why:

- Money. The account is told in cents, a backtest counts in binary fractions: prices and commissions agree to a
  hundredth of a cent, sizes exactly.
- Protection. Live, an entry's stop is sent when its fill is told, a moment later; in a backtest with the bar's end. A
  price that comes back to the stop within the bar of the entry is stopped out live, and a bar later in a backtest.
- Ticks. Live, the price of a stop is rounded to the contract's tick, towards triggering earlier.
- The place of a stop's or limit's fill within its bar, which a backtest does not know; the bar and the price are the
  same.
"""

from datetime import UTC, date, datetime, timedelta

import pytest

from broker.costs import cost_model
from broker.orders.changes import CommissionBooked, FillBooked
from research.engine.run import run_backtest
from research.experiment import Experiment
from risk.guard import RiskGuard
from risk.limits import Limits
from strategies.registry import load_strategy
from tests.integration.broker.live_cerebro import CALENDAR, live_desk
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

DAY, MINUTES = date(2024, 1, 8), 240
SMALL = {"max_position_size": 0.004, "max_concentration": 0.004}  # far below a tenth of a minute's volume
LIBRARY = [
    ("sma_crossover.SMACrossover", {"sma_short": 3, "sma_long": 9}, ("AAPL",)),
    ("breakout.DonchianBreakout", {"entry_bars": 10, "exit_bars": 5}, ("AAPL",)),
    ("breakout.KeltnerBreakout", {"average_period": 10, "width": 0.5}, ("AAPL",)),
    ("mean_reversion.RSIReversion", {"rsi_period": 5}, ("AAPL",)),
    ("mean_reversion.BollingerReversion", {}, ("AAPL",)),
    ("mean_reversion.ZScoreReversion", {}, ("AAPL",)),
    ("momentum.RSIMomentum", {"rsi_period": 5}, ("AAPL",)),
    ("momentum.DualMomentum", {"lookback": 21, "rebalance": "bar", "top": 1}, ("AAPL", "MSFT")),
    ("momentum.CrossSectionalRotation", {"lookback": 42, "skip": 21, "rebalance": "bar", "top": 1}, ("AAPL", "MSFT")),
    ("pairs.PairsTrading", {"lookback": 20, "hedge": "equal", "entry_z": 1.0, "exit_z": 0.25}, ("AAPL", "MSFT")),
    ("timing.MACDTiming", {}, ("AAPL",)),
    ("timing.StochasticTiming", {}, ("AAPL",)),
    ("timing.ADXTrend", {}, ("AAPL",)),
]


def backtested(folder, dotted, params, symbols):
    """Fills of a backtest: (bar's close, symbol, signed quantity, price, commission)."""
    experiment = Experiment.build(
        strategy=f"strategies.{dotted}", params=params, symbols=list(symbols), start=DAY, end=DAY, resolution="1m",
        cash=1_000_000, limits={}, costs={"model": "ibkr_fixed"},
    )  # fmt: skip
    last = CALENDAR.open_utc(DAY) + timedelta(minutes=MINUTES)
    bars = {}
    for symbol in symbols:
        table = Warehouse(folder).read_bars(symbol, Resolution.MINUTE, start=DAY, end=DAY)
        bars[symbol] = table.filter([ts.as_py() <= last for ts in table["ts"]])
    fills = run_backtest(experiment, bars).fills.to_pylist()
    return sorted(
        (f["ts"], f["symbol"], f["quantity"] if f["side"] == "buy" else -f["quantity"], f["price"], f["commission"])
        for f in fills
    )


def traded(desk, dotted, params, symbols):
    """Fills of a live session likewise."""
    journal, broker = [], []
    base = load_strategy(f"strategies.{dotted}")
    strategy = type("Live" + base.__name__, (base,), {"params": tuple(params.items())})

    def made(store):
        guard = RiskGuard(
            Limits().tightest(base.limits_for(params)),
            session_of=lambda moment: CALENDAR.next_session(CALENDAR.last_closed_session(moment)),
            session_close=CALENDAR.close_utc,
        )
        reference = lambda bar, number: f"test/{bar:%Y%m%d/%H%M%S}/{number}"  # noqa: E731
        costs = cost_model("ibkr_fixed")
        broker.append(store.getbroker(guard=guard, reference=reference, journal=journal.append, costs=costs))
        return broker[0]

    def quiet():
        return not any(order.state.value in {"INTENDED", "SENT", "CANCEL_SENT"} for order in broker[0].book.open_orders)

    def script(desk):
        for _ in range(MINUTES):
            desk.step()
            yield desk.delivered
            yield lambda: True  # a round, in which the broker sends what waited for others
            yield quiet

    desk.run(script, symbols=symbols, strategy=strategy, broker=made)
    paid = {c.commission.exec_id: float(c.commission.amount) for c in journal if isinstance(c, CommissionBooked)}
    fills = []
    for change in journal:
        if isinstance(change, FillBooked):
            e = change.execution
            fills.append((bar_of(e.ts), e.contract.symbol, float(e.signed), float(e.price), paid.get(e.exec_id)))
    return sorted(fills)


def bar_of(ts):
    """The close of the minute that a moment lies in."""
    return ts.replace(second=0, microsecond=0) + timedelta(minutes=1)


@pytest.mark.parametrize("case", LIBRARY, ids=[name for name, _, _ in LIBRARY])
def test_a_strategy_trades_live_as_in_a_backtest(start, recording, tmp_path, case):
    dotted, params, symbols = case
    params = {**params, **SMALL}
    expected = backtested(recording, dotted, params, symbols)
    with live_desk(start(bars=0, seed=1), tmp_path, heartbeat_seconds=60.0, answer_seconds=20.0) as desk:
        found = traded(desk, dotted, params, symbols)
    assert len(expected) > 2
    assert [fill[:3] for fill in found] == [fill[:3] for fill in expected]
    assert [fill[3] for fill in found] == pytest.approx([fill[3] for fill in expected], abs=1e-4)
    assert [fill[4] for fill in found] == pytest.approx([fill[4] for fill in expected], abs=1e-4)


def test_a_stop_between_two_ticks_triggers_no_later_live_than_in_a_backtest(start, recording, tmp_path):
    dotted, params = "breakout.ATRBreakout", {"atr_period": 5, "breakout": 0.5, "trail": 2.5, **SMALL}
    expected = backtested(recording, dotted, params, ("AAPL",))
    with live_desk(start(bars=0, seed=1), tmp_path, heartbeat_seconds=60.0, answer_seconds=20.0) as desk:
        found = traded(desk, dotted, params, ("AAPL",))
    first = next(at for at, pair in enumerate(zip(found, expected, strict=False)) if pair[0][:3] != pair[1][:3])
    assert first > 2
    (live_bar, _, live_size, *_), (bar, _, size, *_) = found[first], expected[first]
    assert live_bar < bar
    assert live_size == size < 0


def test_the_close_of_a_minute_is_told_from_any_moment_in_it():
    moment = datetime(2024, 1, 8, 14, 30, 20, tzinfo=UTC)
    assert bar_of(moment) == datetime(2024, 1, 8, 14, 31, tzinfo=UTC)
