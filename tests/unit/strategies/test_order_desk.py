"""From wanted positions to orders: once, carried over, tried again, protected."""

import backtrader as bt
import pytest

from strategies.base_strategy import BaseStrategy
from tests.unit.strategies.markets import frame, run


class Scripted(BaseStrategy):
    """Does at each bar number what its script says: {bar: function of the strategy and the data}."""

    params = (("script", None),)

    def decide(self, data):
        for act in [self.p.script.get(len(data)), self.p.script.get("always")]:
            if act:
                act(self, data)


def long(strategy, data):
    strategy.enter_long(data)


def short(strategy, data):
    strategy.enter_short(data)


def leave(strategy, data):
    strategy.leave(data)


def scripted(bars, script, **options):
    return run(Scripted, bars, script=script, **options)


class Refusing(bt.brokers.BackBroker):
    """Rejects the orders whose number is in `refused`."""

    refused = ()

    def start(self):
        super().start()
        self.number = 0

    def transmit(self, order, check=True):
        self.number += 1
        if self.number in self.refused:
            order.submit(self)
            order.reject(self)
            self.notify(order)
            return order
        return super().transmit(order, check)


class Slow(bt.brokers.BackBroker):
    """Confirms a cancellation only one bar after it was asked for, as a real broker does."""

    def start(self):
        super().start()
        self.asked = []

    def next(self):
        super().next()
        asked, self.asked = self.asked, []
        for order in asked:
            super().cancel(order)

    def cancel(self, order, bracket=False):
        self.asked.append(order)


def refusing(*numbers):
    broker = Refusing()
    broker.refused = numbers
    return broker


def of_volume(percent):
    broker = bt.brokers.BackBroker()
    broker.set_filler(bt.fillers.FixedBarPerc(perc=percent))
    return broker


def test_an_entry_fills_at_the_next_open_with_its_share_of_equity():
    done = scripted(frame([100.0] * 5, opens=[100, 100, 101, 100, 100]), {2: long})
    (fill,) = done.fills
    assert (fill.decided, fill.filled, fill.size, fill.price) == (2, 3, 950.0, 101.0)


def test_the_same_wish_at_every_bar_is_one_order():
    done = scripted([100.0] * 10, {"always": long})
    assert done.sizes() == [950.0]
    assert done.statuses.count("Submitted") == 1


def test_a_wish_while_a_partial_fill_works_sends_nothing():
    done = scripted(frame([100.0] * 8, volume=1000), {"always": long}, broker=of_volume(30.0))
    assert done.statuses.count("Submitted") == 1
    assert done.strategy.position.size == 950.0
    assert done.statuses.count("Partial") == 3


def test_leaving_in_the_middle_of_a_partial_entry_cancels_the_rest_and_sells_what_there_is():
    done = scripted(frame([100.0] * 12, volume=1000), {1: long, 3: leave}, broker=of_volume(30.0))
    assert "Canceled" in done.statuses
    assert done.strategy.position.size == 0
    assert done.sizes() == [-600.0]


def test_an_entry_that_was_never_filled_is_cancelled_without_a_sale():
    done = scripted(frame([100.0] * 8, volume=0), {1: long, 3: leave}, broker=of_volume(100.0))
    assert done.fills == []
    assert done.statuses[-1] == "Canceled"


def test_an_open_that_costs_more_than_the_cash_is_tried_again_smaller():
    done = scripted(frame([100.0, 100.0, 120.0, 120.0, 120.0], opens=[100, 100, 120, 120, 120]), {2: long})
    assert "Margin" in done.statuses
    (fill,) = done.fills
    assert (fill.decided, fill.filled, fill.size) == (3, 4, 791.0)


def test_an_entry_is_given_up_after_three_opens_it_could_not_pay():
    closes = [100.0 * 1.2**bar for bar in range(12)]
    opens = [close * 1.2 for close in closes]
    done = scripted(frame(closes, opens=opens), {2: long})
    assert done.statuses.count("Margin") == 3
    assert done.statuses.count("Submitted") == 3
    assert done.fills == []
    assert not done.strategy.pending(done.strategy.data)


def test_a_refused_entry_is_not_tried_again():
    done = scripted([100.0] * 8, {2: long}, broker=refusing(1))
    assert done.fills == []
    assert done.statuses == ["Rejected"]


def test_a_refused_entry_may_be_wanted_anew():
    done = scripted([100.0] * 8, {2: long, 5: long}, broker=refusing(1))
    assert [fill.decided for fill in done.fills] == [5]


def test_a_refused_exit_is_tried_until_it_is_done():
    done = scripted([100.0] * 10, {2: long, 4: leave}, broker=refusing(2, 3, 4))
    assert [(fill.decided, fill.size) for fill in done.fills] == [(2, 950.0), (7, -950.0)]


def test_from_long_to_short_is_one_order():
    done = scripted([100.0] * 8, {2: long, 4: short}, allow_short=True)
    assert done.sizes() == [950.0, -1900.0]
    assert done.strategy.position.size == -950.0


def test_a_refused_reversal_still_closes_the_old_position():
    done = scripted([100.0] * 10, {2: long, 4: short}, allow_short=True, broker=refusing(2))
    assert done.sizes() == [950.0, -950.0]
    assert done.strategy.position.size == 0


def test_without_shorting_a_sell_signal_only_closes():
    done = scripted([100.0] * 8, {2: short, 3: long, 5: short})
    assert done.sizes() == [950.0, -950.0]


def test_a_sell_signal_cancels_a_long_entry_on_its_way():
    done = scripted(frame([100.0] * 8, volume=0), {1: long, 3: short}, broker=of_volume(100.0))
    assert done.statuses[-1] == "Canceled"


def test_leaving_twice_sells_once():
    done = scripted(frame([100.0] * 20, volume=1000), {1: long, 8: leave, 9: leave, 10: leave},
                    broker=of_volume(30.0))  # fmt: skip
    assert done.sizes() == [950.0, -950.0]
    assert done.strategy.position.size == 0


def test_a_new_order_waits_for_the_cancellation_of_the_old_one():
    done = scripted(frame([100.0] * 12, volume=1000), {1: long, 3: leave}, broker=slow_of_volume(30.0))
    # another 300 shares are bought while the cancellation is on its way; all of them are sold
    assert done.sizes() == [-900.0]
    assert done.strategy.position.size == 0


def slow_of_volume(percent):
    broker = Slow()
    broker.set_filler(bt.fillers.FixedBarPerc(perc=percent))
    return broker


def test_cash_of_a_working_buy_is_not_spent_twice():
    class BuyBoth(BaseStrategy):
        def decide(self, data):
            if len(data) == 1:
                self.enter_long(data, weight=0.6)

    done = run(BuyBoth, {"A": [100.0] * 5, "B": [100.0] * 5}, cash_reserve=0.0)
    assert (done.sizes("A"), done.sizes("B")) == ([600.0], [400.0])


def test_money_of_a_sale_on_its_way_is_spent_on_the_next_symbol():
    class Rotate(BaseStrategy):
        def decide_all(self, ready):
            first, second = ready
            if len(self) == 1:
                self.enter_long(first, weight=0.9)
            if len(self) == 3:
                self.leave(first)
                self.enter_long(second, weight=0.9)

    done = run(Rotate, {"A": [100.0] * 6, "B": [100.0] * 6})
    assert [(fill.symbol, fill.filled, fill.size) for fill in done.fills] == [
        ("A", 2, 900.0),
        ("A", 4, -900.0),
        ("B", 4, 900.0),
    ]


# ---------------------------------------------------------------------- protective stops


def with_stop(price):
    return lambda strategy, data: strategy.enter_long(data, stop=price)


def test_a_stop_closes_the_position_inside_the_bar():
    bars = frame([100.0, 100, 100, 85, 85, 85], opens=[100, 100, 100, 95, 85, 85])
    done = scripted(bars, {1: with_stop(90.0)})
    assert [(fill.filled, fill.size, fill.price) for fill in done.fills] == [(2, 950.0, 100.0), (4, -950.0, 90.0)]


def test_a_stopped_position_stays_closed():
    done = scripted([100.0, 100, 100, 85, 85, 85, 85], {1: with_stop(90.0)})
    assert done.sizes() == [950.0, -950.0]
    assert done.strategy.side(done.strategy.data) == 0


def test_a_stop_follows_a_partial_fill():
    bars = frame([100.0, 100, 100, 100, 100, 100, 80, 80, 80, 80], spread=1.0)
    bars["volume"] = [1000, 300, 300, 400, 1000, 1000, 500, 300, 1000, 1000]
    done = scripted(bars, {1: with_stop(90.0)}, broker=of_volume(100.0))
    # 950 bought over three bars; sold as 500, 300 and 150 once the stop is hit
    assert done.sizes() == [950.0, -950.0]
    assert [fill.filled for fill in done.fills] == [4, 9]
    assert done.strategy.position.size == 0


def test_a_partly_filled_entry_is_protected_before_it_is_complete():
    closes = [100.0, 100.0, 100.0, 80.0, 80.0, 80.0]
    bars = frame(closes, opens=[100, 100, 100, 100, 80, 80])
    bars["volume"] = [1000, 300, 0, 1000, 1000, 1000]
    done = scripted(bars, {1: with_stop(90.0)}, broker=of_volume(100.0))
    stops = [fill for fill in done.fills if fill.price == 90.0]
    assert [(fill.filled, fill.size) for fill in stops] == [(4, -300.0)]


def test_leaving_takes_the_stop_away():
    done = scripted([100.0] * 5 + [80.0] * 5, {1: with_stop(90.0), 3: leave})
    assert done.sizes() == [950.0, -950.0]
    assert done.strategy.position.size == 0
    assert done.strategy.stop_price(done.strategy.data) is None


def test_a_stop_that_is_moved_up_is_the_only_one():
    closes = [100.0, 100.0, 110.0, 110.0, 96.0, 80.0, 70.0]
    done = scripted(closes, {1: with_stop(90.0), 3: lambda strategy, data: strategy.protect(data, 100.0)})
    assert [(fill.filled, fill.size, fill.price) for fill in done.fills] == [(2, 950.0, 100.0), (5, -950.0, 100.0)]


def test_a_stop_without_a_position_is_nothing():
    done = scripted([100.0] * 5, {2: lambda strategy, data: strategy.protect(data, 100.0)})
    assert done.fills == []
    assert done.strategy.stop_price(done.strategy.data) is None


def test_the_stop_of_a_short_lies_above():
    bars = [100.0, 100.0, 100.0, 115.0, 115.0, 115.0]
    done = scripted(bars, {1: lambda s, d: s.enter_short(d, stop=110.0)}, allow_short=True)
    assert [(fill.size, fill.price) for fill in done.fills] == [(-950.0, 100.0), (950.0, 110.0)]


def test_a_reversal_replaces_the_stop():
    bars = [100.0, 100.0, 100.0, 100.0, 100.0, 120.0, 120.0]
    script = {1: with_stop(90.0), 3: lambda s, d: s.enter_short(d, stop=110.0)}
    done = scripted(bars, script, allow_short=True)
    assert [(fill.size, fill.price) for fill in done.fills] == [(950.0, 100.0), (-1900.0, 100.0), (950.0, 110.0)]


@pytest.mark.parametrize("runonce", [True, False])
def test_bar_by_bar_and_at_once_are_the_same(runonce):
    script = {1: with_stop(90.0), 3: leave, 5: long}
    done = scripted([100.0, 101, 102, 95, 96, 97, 98], script, runonce=runonce)
    assert [(fill.filled, fill.size) for fill in done.fills] == [(2, 950.0), (4, -950.0), (6, 1008.0)]


def test_a_stop_moved_at_every_bar_is_in_force_at_the_next():
    closes = [100.0, 100.0, 104.0, 108.0, 112.0, 116.0, 90.0, 90.0]
    trailing = lambda strategy, data: strategy.protect(data, data.close[0] - 5.0)  # noqa: E731
    done = scripted(closes, {1: long, "always": trailing})
    assert [(fill.filled, fill.price) for fill in done.fills] == [(2, 100.0), (7, 111.0)]


def test_news_of_a_fill_between_bars_brings_the_stop_at_once():
    class BetweenBars(BaseStrategy):
        news = None

        def notify_order(self, order):
            self.news = order

        def next(self):
            data = self.data
            if len(data) == 2:  # as if the fill were heard of after this bar's decisions
                self._seen[data] = len(data)
                super().notify_order(self.news)
            elif len(data) == 1:
                super().next()

        def decide(self, data):
            self.enter_long(data, stop=90.0)

    done = run(BetweenBars, [100.0, 100.0, 85.0, 85.0])
    assert [(fill.decided, fill.filled, fill.price) for fill in done.fills] == [(1, 2, 100.0), (2, 3, 90.0)]


def test_the_news_of_a_refused_stop_does_not_bring_the_next_one():
    class Told(BaseStrategy):
        def next(self):
            super().next()
            if len(self.data) == 3:
                for _ in range(5):
                    self.notify_order(self._desk._stops[self.data].order)

        def decide(self, data):
            self.enter_long(data, stop=90.0)

    done = run(Told, [100.0] * 5, broker=refusing(*range(2, 100)))
    assert done.statuses.count("Rejected") == 3  # at the ends of the bars 2, 3 and 4; what is sent at 5 is not told


# ---------------------------------------------------------------------- taking profit


def with_profit(price, stop=None):
    return lambda strategy, data: strategy.enter_long(data, stop=stop, take_profit=price)


def test_a_profit_is_taken_at_its_limit_inside_the_bar():
    bars = frame([100.0, 100, 104, 112, 112], opens=[100, 100, 100, 106, 112])
    done = scripted(bars, {1: with_profit(110.0)})
    assert [(fill.filled, fill.size, fill.price) for fill in done.fills] == [(2, 950.0, 100.0), (4, -950.0, 110.0)]


def test_what_ends_a_position_first_withdraws_the_other():
    script = {1: with_profit(110.0, stop=90.0)}
    up = scripted([100.0, 100, 100, 115, 115, 80, 80, 80], script)
    down = scripted([100.0, 100, 100, 85, 85, 120, 120, 120], script)
    assert [(fill.filled, fill.price) for fill in up.fills] == [(2, 100.0), (4, 110.0)]
    assert [(fill.filled, fill.price) for fill in down.fills] == [(2, 100.0), (4, 90.0)]
    for done in (up, down):
        assert done.statuses.count("Canceled") == 1
        assert done.strategy.resting


def test_leaving_withdraws_the_stop_and_the_limit():
    done = scripted([100.0] * 5 + [80.0, 120.0, 120.0], {1: with_profit(110.0, stop=90.0), 3: leave})
    assert done.sizes() == [950.0, -950.0]
    assert done.statuses.count("Canceled") == 2


def test_the_limit_follows_a_partial_fill():
    bars = frame([100.0, 100, 100, 100, 100, 120, 120, 120], spread=1.0)
    bars["volume"] = [1000, 300, 300, 400, 1000, 500, 300, 1000]
    done = scripted(bars, {1: with_profit(110.0)}, broker=of_volume(100.0))
    # 950 bought over three bars; sold as 500, 300 and 150 once the limit is reached
    assert done.sizes() == [950.0, -950.0]
    assert [fill.filled for fill in done.fills] == [4, 8]
    assert done.strategy.position.size == 0


def test_a_reversal_replaces_the_limit():
    script = {1: with_profit(130.0), 3: lambda s, d: s.enter_short(d, take_profit=90.0)}
    done = scripted([100.0, 100, 100, 100, 100, 80, 80], script, allow_short=True)
    assert [(fill.size, fill.price) for fill in done.fills] == [(950.0, 100.0), (-1900.0, 100.0), (950.0, 90.0)]
