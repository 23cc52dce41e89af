"""Whatever a strategy does: the books balance and no limit is exceeded but by a move of the price."""

import backtrader as bt
from hypothesis import given, settings
from hypothesis import strategies as st

from research.run_tables import closes_on
from tests.unit.research.scenarios import prepared, run, walk

SEND = st.tuples(
    st.integers(2, 38),  # bar
    st.integers(0, 1),  # symbol
    st.booleans(),  # buy
    st.integers(1, 900),  # size
    st.sampled_from(["market", "limit", "stop", "stop_limit", "trail", "close", "bracket", "oco", "flat", "cancel"]),
    st.floats(-0.03, 0.03),  # distance of the price from the close
)
COSTS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["ibkr_fixed", "ibkr_tiered", "none"]),
        "participation": st.sampled_from([None, 0.1, 0.01]),
        "borrow_rate": st.just(0.1),
        "margin_rate": st.just(0.1),
        "cash_rate": st.just(0.05),
    }
)
LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "max_position_shares": st.just(300),
        "max_position_fraction": st.just(0.2),
        "max_gross_exposure": st.just(0.5),
        "allow_shorting": st.booleans(),
        "max_drawdown": st.just(0.02),
        "max_daily_loss_fraction": st.just(0.01),
        "on_drawdown": st.sampled_from(["REDUCE_ONLY", "FLATTEN"]),
    },
)
MARKET = walk("A", 40, 11, volume=5e4), walk("B", 40, 12, volume=2e4)
GAPPY = MARKET[0], MARKET[1].filter([bar % 5 != 3 for bar in range(40)])


class Scripted(bt.Strategy):
    params = (("script", ()),)

    def next(self):
        for bar, symbol, buy, size, kind, away in self.p.script:
            if bar == len(self):
                self.act(
                    self.datas[symbol], buy=buy, size=size, kind=kind, price=self.datas[symbol].close[0] * (1 + away)
                )

    def act(self, data, *, buy, size, kind, price):
        send = self.buy if buy else self.sell
        kinds = {"market": "Market", "close": "Close", "limit": "Limit", "stop": "Stop"}
        if kind in kinds:
            send(data, size=size, price=price, exectype=getattr(bt.Order, kinds[kind]))
        elif kind == "stop_limit":
            send(data, size=size, price=price, plimit=price * 1.001, exectype=bt.Order.StopLimit)
        elif kind == "trail":
            send(data, size=size, trailpercent=0.02, exectype=bt.Order.StopTrail)
        elif kind == "bracket":
            side = 1 if buy else -1
            both = self.buy_bracket if buy else self.sell_bracket
            both(
                data=data,
                size=size,
                price=price,
                stopprice=price * (1 - 0.02 * side),
                limitprice=price * (1 + 0.02 * side),
            )
        elif kind == "oco":
            first = send(data, size=size, price=price, exectype=bt.Order.Limit)
            send(data, size=size, price=price * 1.02, exectype=bt.Order.Stop, oco=first)
        elif kind == "flat":
            self.close(data)
        else:
            for order in self.broker.get_orders_open():
                self.cancel(order)


scripts = st.lists(SEND, min_size=1, max_size=25).map(tuple)


@given(scripts, COSTS, LIMITS, st.sampled_from([MARKET, GAPPY]))
@settings(max_examples=60, deadline=None)
def test_the_books_of_any_run_balance(script, costs, limits, tables):
    output = run(Scripted, *tables, params={"script": script}, costs=costs, limits=limits or "none")
    assert output.equity.num_rows == 40
    assert all(trade["quantity"] > 0 for trade in output.trades.to_pylist())


@given(scripts, st.sampled_from([{"max_position_shares": 300}, {"allow_shorting": False}]))
@settings(max_examples=40, deadline=None)
def test_a_limit_in_shares_is_never_exceeded_at_any_bar(script, limits):
    output = run(Scripted, *MARKET, params={"script": script}, limits=limits)
    ready = prepared(Scripted, *MARKET)
    for symbol, bars in ready.bars.items():
        held = 0.0
        for fill in output.fills.to_pylist():
            if fill["symbol"] == symbol:
                held += fill["quantity"] * (1 if fill["side"] == "buy" else -1)
                assert abs(held) <= limits.get("max_position_shares", 1e9)
                assert held >= 0 or limits.get("allow_shorting", True)
        assert len(closes_on(bars.ts, bars)) == 40
