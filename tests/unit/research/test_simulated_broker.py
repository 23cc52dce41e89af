"""The way of an order: through risk, to its bar, at its price, in its pieces, with its costs."""

import datetime as dt

import backtrader as bt
import pytest

from research.errors import ResearchError
from risk.states import HaltState
from tests.unit.research.scenarios import FREE, Script, daily, flat, minutes, run, table

ROWS = [(10, 11, 9, 10), (12, 13, 11, 12), (14, 15, 13, 14), (16, 17, 15, 16), (18, 19, 17, 18), (20, 21, 19, 20)]


def plan(**steps):
    """`at1=lambda s: ...` does something at bar 1."""
    return {"plan": {int(name.removeprefix("at")): step for name, step in steps.items()}}


def script(*rows_or_tables, steps, **fields):
    tables = rows_or_tables or (daily("A", ROWS),)
    return run(Script, *tables, params=plan(**steps), **fields)


def fills(output):
    return [(row["symbol"], row["side"], row["quantity"], row["price"]) for row in output.fills.to_pylist()]


def outcomes(output):
    return [
        (row["status"], row["quantity_requested"], row["quantity"], row["filled"]) for row in output.orders.to_pylist()
    ]


def reasons(output):
    return output.orders["reason"].to_pylist()


# ---------------------------------------------------------------- risk: nothing goes round it

LIMIT_50 = {"max_position_shares": 50}


def order_by_hand(strategy):
    return bt.order.BuyOrder(owner=strategy, data=strategy.data, size=80, exectype=bt.Order.Market)


def registered(strategy):
    order = order_by_hand(strategy)
    strategy.broker._ocoize(order, None)
    return order


WAYS_ROUND = {
    "strategy.buy": lambda s: s.buy(size=80),
    "broker.buy": lambda s: s.broker.buy(s, s.data, 80),
    "broker.buy unchecked": lambda s: s.broker.buy(s, s.data, 80, _checksubmit=False),
    "target size": lambda s: s.order_target_size(target=80),
    "target value": lambda s: s.order_target_value(target=800),
    "target percent": lambda s: s.order_target_percent(target=0.0081),
    "broker.submit": lambda s: s.broker.submit(registered(s)),
    "broker.submit unchecked": lambda s: s.broker.submit(registered(s), check=False),
    "broker.transmit": lambda s: s.broker.transmit(registered(s), check=False),
}


@pytest.mark.parametrize("way", WAYS_ROUND)
def test_every_way_to_send_an_order_is_reviewed(way):
    output = script(steps={"at1": WAYS_ROUND[way]}, limits=LIMIT_50)
    assert [quantity for _, _, quantity, _ in fills(output)] == [50]
    assert [(event.kind, event.limit) for event in output.risk_events] == [("shrunk", "max_position_shares")]


def test_an_order_put_into_the_queue_by_hand_never_fills():
    def smuggle(strategy):
        order = registered(strategy)
        order.submit(strategy.broker)
        strategy.broker.pending.append(order)

    output = script(steps={"at1": smuggle}, limits=LIMIT_50)
    assert fills(output) == []


def test_an_order_that_skips_the_queue_never_fills():
    output = script(steps={"at1": lambda s: s.broker.submit_accept(registered(s))}, limits=LIMIT_50)
    assert fills(output) == []


def test_an_order_that_grows_after_its_review_is_rejected():
    def grow(strategy):
        order = strategy.buy(size=10)
        order.size = order.created.size = order.executed.remsize = 500

    output = script(steps={"at1": grow}, limits=LIMIT_50)
    assert fills(output) == []
    assert reasons(output) == ["its size was changed after the risk review"]


def test_an_order_that_names_its_own_price_is_rejected():
    output = script(steps={"at1": lambda s: s.buy(size=10, price=0.01, exectype=bt.Order.Historical)})
    assert (fills(output), outcomes(output)) == ([], [("rejected", 10.0, 0.0, 0.0)])


@pytest.mark.parametrize("size", [float("nan"), float("inf"), -5])
def test_a_size_that_is_no_quantity_is_rejected(size):
    output = script(steps={"at1": lambda s: s.broker.buy(s, s.data, size)})
    assert (fills(output), output.orders["status"].to_pylist()) == ([], ["rejected"])


@pytest.mark.parametrize("price", [-0.01, float("nan")])
def test_a_price_below_zero_is_rejected(price):
    output = script(steps={"at1": lambda s: s.sell(size=1, price=price, exectype=bt.Order.Stop)})
    assert (fills(output), reasons(output)) == ([], [f"price {price!r} is no price of a share"])


@pytest.mark.parametrize(
    "setting",
    [
        lambda s: s.broker.set_cash(1e9),
        lambda s: s.broker.setcommission(0.0),
        lambda s: s.broker.set_coc(True),
        lambda s: s.broker.set_filler(None),
        lambda s: s.broker.set_checksubmit(False),
        lambda s: s.broker.set_slippage_perc(0.0),
        lambda s: s.broker.addcommissioninfo(None),
    ],
)
def test_money_costs_and_fills_cannot_be_set_by_the_strategy(setting):
    with pytest.raises(ResearchError, match="belong to the experiment"):
        script(steps={"at1": setting})


def test_cheating_parameters_have_no_effect():
    def cheat(strategy):
        strategy.broker.p.coc = strategy.broker.p.coo = True
        strategy.broker.p.slip_perc = -0.5
        strategy.buy(size=1)

    assert fills(script(steps={"at1": cheat})) == [("A", "buy", 1.0, 14.0)]


def test_a_refused_order_is_rejected_and_the_strategy_hears_of_it():
    told = []

    class Listening(Script):
        def notify_order(self, order):
            told.append((len(self) - 1, order.getstatusname()))

    output = run(
        Listening, daily("A", ROWS), params=plan(at1=lambda s: s.sell(size=5)), limits={"allow_shorting": False}
    )
    assert told == [(2, "Rejected")]
    assert outcomes(output) == [("rejected", 5.0, 0.0, 0.0)]
    assert [(event.kind, event.limit) for event in output.risk_events] == [("refused", "allow_shorting")]
    assert reasons(output) == [output.risk_events[0].reason]


def test_a_plain_reduction_is_never_refused():
    steps = {"at0": lambda s: s.buy(size=100), "at2": lambda s: s.sell(size=100)}
    output = script(steps=steps, limits={"max_order_value": 1100, "max_orders_per_session": 1, "max_open_orders": 1})
    assert fills(output) == [("A", "buy", 100.0, 12.0), ("A", "sell", 100.0, 16.0)]


def test_two_orders_of_one_bar_are_judged_together():
    steps = {"at0": lambda s: (s.buy(size=40), s.buy(size=40))}
    assert [quantity for _, _, quantity, _ in fills(script(steps=steps, limits=LIMIT_50))] == [40, 10]


def test_the_children_of_a_shrunk_bracket_shrink_with_it():
    def bracket(strategy):
        strategy.buy_bracket(size=80, exectype=bt.Order.Market, stopprice=5, limitprice=17.5)

    output = script(steps={"at0": bracket}, limits=LIMIT_50)
    assert outcomes(output) == [
        ("completed", 80.0, 50.0, 50.0),
        ("canceled", 50.0, 50.0, 0.0),
        ("completed", 50.0, 50.0, 50.0),
    ]
    assert fills(output) == [("A", "buy", 50.0, 12.0), ("A", "sell", 50.0, 18.0)]
    assert output.orders["parent_id"].to_pylist() == [None, 1, 1]


def test_children_with_sizes_of_their_own_shrink_with_their_parent():
    def bracket(strategy):
        parent = strategy.buy(size=80, transmit=False)
        strategy.sell(size=80, exectype=bt.Order.Limit, price=17.5, parent=parent)

    assert fills(script(steps={"at0": bracket}, limits=LIMIT_50)) == [
        ("A", "buy", 50.0, 12.0),
        ("A", "sell", 50.0, 18.0),
    ]


def test_a_refused_bracket_takes_its_children_with_it():
    def bracket(strategy):
        strategy.sell_bracket(size=80, exectype=bt.Order.Market, stopprice=25, limitprice=5)

    output = script(steps={"at0": bracket}, limits={"allow_shorting": False})
    assert output.orders["status"].to_pylist() == ["rejected"] * 3
    assert reasons(output)[1:] == ["its parent order is not working"] * 2


def test_a_flatten_cancels_what_works_and_closes_what_is_held():
    rows = [*flat(100, 3), (100, 100, 80, 80), *flat(80, 4)]
    steps = {
        "at0": lambda s: s.buy(size=500),
        "at1": lambda s: s.buy(size=10, exectype=bt.Order.Limit, price=50),
        "at5": lambda s: s.buy(size=10),
    }
    output = script(daily("A", rows), steps=steps, limits={"max_drawdown": 0.05})
    assert fills(output) == [("A", "buy", 500.0, 100.0), ("A", "sell", 500.0, 80.0)]
    assert output.orders["status"].to_pylist() == ["completed", "canceled", "completed", "rejected"]
    assert output.orders["ts"][2].as_py() == output.equity["ts"][3].as_py()
    assert [event.kind for event in output.risk_events] == ["halt", "refused"]
    assert output.final_halt is HaltState.FLATTEN


def test_the_orders_that_flatten_cannot_be_cancelled_or_doubled():
    rows = [*flat(100, 3), *flat(80, 5)]

    def cancel_all(strategy):
        for order in strategy.broker.get_orders_open():
            strategy.cancel(order)
        strategy.close()

    class Defiant(Script):
        def next(self):
            if len(self) == 1:
                self.buy(size=500)
            elif len(self) > 3:
                cancel_all(self)

    output = run(Defiant, daily("A", rows), limits={"max_drawdown": 0.05})
    assert fills(output) == [("A", "buy", 500.0, 100.0), ("A", "sell", 500.0, 80.0)]


def test_reduce_only_cancels_entries_and_keeps_exits():
    rows = [*flat(100, 3), (100, 100, 80, 80), *flat(80, 4)]
    steps = {
        "at0": lambda s: s.buy(size=500),
        "at2": lambda s: (
            s.buy(size=10, exectype=bt.Order.Limit, price=50),
            s.sell(size=500, exectype=bt.Order.Limit, price=500),
        ),
    }
    output = script(daily("A", rows), steps=steps, limits={"max_drawdown": 0.05, "on_drawdown": "REDUCE_ONLY"})
    assert output.orders["status"].to_pylist() == ["completed", "canceled", "accepted"]
    assert fills(output) == [("A", "buy", 500.0, 100.0)]


def test_flat_before_the_close_works_in_simulated_time():
    bars = minutes("A", flat(10, 40), first="20:21")
    output = script(bars, steps={"at0": lambda s: s.buy(size=10)}, limits={"flat_before_close_minutes": 15})
    sold = output.fills.to_pylist()[1]
    assert (sold["side"], sold["ts"]) == ("sell", dt.datetime(2024, 1, 2, 20, 46, tzinfo=dt.UTC))


# ---------------------------------------------------------------- which bar


def test_a_market_order_fills_at_the_next_open():
    assert fills(script(steps={"at1": lambda s: s.buy(size=3)})) == [("A", "buy", 3.0, 14.0)]


def test_an_order_on_the_last_bar_cannot_fill_and_is_reported():
    output = script(steps={"at5": lambda s: s.buy(size=3)})
    assert fills(output) == []
    assert outcomes(output) == [("submitted", 3.0, 3.0, 0.0)]
    assert any("submitted on the last bar" in warning for warning in output.warnings)


def test_an_order_from_stop_is_rejected():
    class Late(Script):
        def stop(self):
            self.buy(size=1)

    output = run(Late, daily("A", ROWS), params=plan())
    assert output.orders["status"].to_pylist() == ["rejected"]


def test_a_timer_that_cheats_cannot_fill_on_the_bar_it_saw():
    class Timed(Script):
        def start(self):
            self.add_timer(bt.timer.SESSION_START, cheat=True)

        def notify_timer(self, timer, when, *args, **kwargs):
            if len(self.data) == 2:
                self.buy(size=1, exectype=bt.Order.Limit, price=12.5)

    assert fills(run(Timed, daily("A", ROWS), params=plan())) == []


def gappy():
    """B trades on the first, second and last of five days only."""
    full = daily("A", flat(10, 5))
    other = daily("B", [(20, 21, 19, 20)] * 5)
    return full, other.take([0, 1, 4])


def test_a_symbol_without_a_bar_today_keeps_its_last_close_and_fills_nothing():
    steps = {
        "at0": lambda s: s.buy(data=s.datas[1], size=10),
        "at2": lambda s: s.buy(data=s.datas[1], size=5, exectype=bt.Order.Limit, price=20.5),
    }
    output = script(*gappy(), steps=steps)
    days = [row["session"].day for row in output.fills.to_pylist()]
    assert days == [3, 8]  # not the 4th or 5th, though the bar of the 3rd would have matched the limit
    assert output.equity["position_value"].to_pylist() == [0, 200, 200, 200, 300]


def test_a_waiting_order_takes_a_bars_volume_once_even_when_the_symbol_pauses():
    full, other = gappy()
    thin = other.set_column(other.schema.get_field_index("volume"), "volume", [[100.0] * 3])
    steps = {"at0": lambda s: s.buy(data=s.datas[1], size=30)}
    output = script(full, thin, steps=steps, costs=FREE | {"participation": 0.1})
    assert [(row["session"].day, row["quantity"]) for row in output.fills.to_pylist()] == [(3, 10.0), (8, 10.0)]


def test_an_order_on_a_symbol_without_any_bar_yet_is_refused():
    class Eager(Script):
        def prenext(self):
            if len(self) == 1:
                self.buy(data=self.datas[1], size=1)

    output = run(Eager, daily("A", flat(10, 5)), daily("B", flat(20, 2), first="2024-01-05"), params=plan())
    assert reasons(output) == ["B has no bar yet"]


def test_a_market_on_close_order_fills_on_the_closing_bar_of_the_session():
    bars = minutes("A", [(10 + i, 10.5 + i, 9.5 + i, 10.25 + i) for i in range(5)], first="20:58")
    output = script(bars, steps={"at0": lambda s: s.buy(size=1, exectype=bt.Order.Close)})
    assert [(row["ts"].minute, row["price"]) for row in output.fills.to_pylist()] == [(0, 12.25)]


# ---------------------------------------------------------------- pieces


def thin(volumes, price=10):
    return daily("A", [(price, price, price, price, volume) for volume in volumes])


def test_a_large_order_is_filled_over_several_bars():
    output = script(
        thin([1000, 100, 250, 0, 1000]), steps={"at0": lambda s: s.buy(size=60)}, costs=FREE | {"participation": 0.1}
    )
    assert [quantity for _, _, quantity, _ in fills(output)] == [10, 25, 25]
    assert outcomes(output) == [("completed", 60.0, 60.0, 60.0)]


def test_orders_of_one_bar_share_its_volume():
    steps = {"at0": lambda s: (s.buy(size=60), s.buy(size=60))}
    output = script(thin([1000] * 4), steps=steps, costs=FREE | {"participation": 0.1})
    assert [(row["session"].day, row["order_id"], row["quantity"]) for row in output.fills.to_pylist()] == [
        (3, 1, 60.0), (3, 2, 40.0), (4, 2, 20.0),
    ]  # fmt: skip


def test_an_unknown_volume_does_not_limit_and_is_reported():
    output = script(
        thin([1000, float("nan"), 1000]), steps={"at0": lambda s: s.buy(size=900)}, costs=FREE | {"participation": 0.1}
    )
    assert [quantity for _, _, quantity, _ in fills(output)] == [900]
    assert any("unknown volume" in warning for warning in output.warnings)


def test_a_partly_filled_stop_and_its_limit_never_turn_the_position():
    rows = [
        (10, 10, 10, 10, 1e6),
        (10, 10, 10, 10, 1e6),
        (9, 9, 8, 8, 300),
        (13, 14, 13, 14, 1e6),
        (14, 14, 14, 14, 1e6),
    ]
    bracket = lambda s: s.buy_bracket(size=100, exectype=bt.Order.Market, stopprice=9, limitprice=13)  # noqa: E731
    output = script(daily("A", rows), steps={"at0": bracket}, costs=FREE | {"participation": 0.1})
    assert [(side, quantity) for _, side, quantity, _ in fills(output)] == [
        ("buy", 100.0),
        ("sell", 30.0),
        ("sell", 70.0),
    ]
    assert output.open_trades.num_rows == 0


def test_a_child_whose_position_was_closed_otherwise_is_cancelled():
    steps = {
        "at0": lambda s: s.buy_bracket(size=10, exectype=bt.Order.Market, stopprice=5, limitprice=19.5),
        "at2": lambda s: s.close(),
    }
    output = script(steps=steps)
    assert fills(output) == [("A", "buy", 10.0, 12.0), ("A", "sell", 10.0, 16.0)]
    assert output.orders["status"].to_pylist()[1:3] == ["canceled", "canceled"]
    assert reasons(output)[2] == "the position it protects is closed"


# ---------------------------------------------------------------- costs


def test_commission_is_charged_an_order_and_session_with_one_minimum():
    costs = {"model": "ibkr_fixed", "slippage": {"kind": "none"}, "participation": None}
    steps = {"at0": lambda s: s.buy(size=100), "at2": lambda s: s.sell(size=300)}
    output = script(steps=steps, costs=costs)
    bought, sold = output.fills["commission"].to_pylist()
    assert bought == 1.0
    assert (
        1.5 <= sold < 1.7
    )  # 300 x 0.005, not one minimum for the closing and one for the opening part; plus sale fees
    assert output.trades["costs"].to_pylist() == pytest.approx([1.0 + sold / 3])


def test_pieces_of_one_order_pay_one_minimum_a_session():
    costs = {"model": "ibkr_fixed", "slippage": {"kind": "none"}, "participation": 0.1}
    bars = minutes("A", [(10, 10, 10, 10, 200)] * 8)
    output = script(bars, steps={"at0": lambda s: s.buy(size=100)}, costs=costs)
    assert output.fills["quantity"].to_pylist() == [20.0] * 5
    assert output.fills["commission"].to_pylist() == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_slippage_stays_inside_the_bar_and_is_counted():
    costs = FREE | {"slippage": {"kind": "bps", "bps": 100}}
    steps = {"at0": lambda s: s.buy(size=10), "at1": lambda s: s.sell(size=10), "at2": lambda s: s.buy(size=10)}
    rows = [*ROWS[:3], (16, 16.05, 15.95, 16), *ROWS[4:]]
    output = script(daily("A", rows), steps=steps, costs=costs)
    assert [price for *_, price in fills(output)] == [12 * 1.01, 14 * 0.99, 16.05]
    assert output.fills["slippage"].to_pylist() == pytest.approx([1.2, 1.4, 0.5])
    assert output.slippage == pytest.approx(3.1)


def test_an_order_that_waits_at_its_limit_does_not_slip():
    costs = FREE | {"slippage": {"kind": "bps", "bps": 100}}
    output = script(steps={"at0": lambda s: s.buy(size=10, exectype=bt.Order.Limit, price=11.5)}, costs=costs)
    assert fills(output) == [("A", "buy", 10.0, 11.5)]


def test_cash_that_a_strategy_adds_is_told_and_balances():
    output = script(steps={"at1": lambda s: s.broker.add_cash(500.0)})
    assert output.deposits == 500.0
    assert output.equity["equity"].to_pylist() == [1e5, 1e5, 100500.0, 100500.0, 100500.0, 100500.0]
    assert any("moved 500.00 of cash" in warning for warning in output.warnings)


def test_a_table_made_by_hand_is_what_the_warehouse_would_give():
    bars = table("A", ["2024-01-02 21:00"], [1], [1], [1], [1], [1])
    assert daily("A", [(1, 1, 1, 1, 1)]).equals(bars)
