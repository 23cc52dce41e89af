"""Laws that hold for any stream of orders and prices.

A small broker stands in for a real one: it keeps working orders, fills them in any order and in pieces at any price,
and caps orders that may only reduce, as `Decision.reduces_only` asks of every broker.
"""

import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from risk.decision import Holding, OrderRequest, Portfolio, RiskState, Verdict, WorkingOrder, decide
from risk.guard import RiskGuard
from risk.limits import Limits
from risk.states import HaltState

START = datetime(2024, 3, 4, 15, 0, tzinfo=UTC)
SYMBOLS = ("A", "B")
EPS = 1 + 1e-6

maybe = st.none()
limits = st.builds(
    Limits,
    max_position_shares=maybe | st.integers(1, 400).map(float),
    max_position_value=maybe | st.floats(100, 30_000),
    max_position_fraction=maybe | st.floats(0.01, 2),
    max_gross_exposure=maybe | st.floats(0.01, 3),
    max_net_exposure=maybe | st.floats(0.01, 2),
    max_order_value=maybe | st.floats(100, 20_000),
    max_open_orders=maybe | st.integers(1, 4),
    max_orders_per_session=maybe | st.integers(1, 12),
    allow_shorting=st.booleans(),
)
sizes = st.integers(-300, 300).filter(bool)
orders = st.tuples(st.just("order"), st.sampled_from(SYMBOLS), sizes)
fills = st.tuples(st.just("fill"), st.integers(0, 7), st.floats(0.05, 1.0))
cancels = st.tuples(st.just("cancel"), st.integers(0, 7), st.none())
moves = st.tuples(st.just("move"), st.sampled_from(SYMBOLS), st.floats(0.6, 1.6))
still = st.lists(orders | orders | fills | fills | cancels, max_size=30)
moving = st.lists(orders | orders | fills | fills | cancels | moves, max_size=30)


@dataclass
class Broker:
    """Cash, positions, prices, working orders; no costs, so that a fill at the last price keeps equity as it is."""

    cash: float = 10_000.0
    held: dict = field(default_factory=lambda: dict.fromkeys(SYMBOLS, 0.0))
    price: dict = field(default_factory=lambda: {"A": 50.0, "B": 20.0})
    working: list = field(default_factory=list)

    @property
    def equity(self):
        return self.cash + sum(self.held[name] * self.price[name] for name in SYMBOLS)

    def portfolio(self):
        holdings = {name: Holding(self.held[name], self.price[name]) for name in SYMBOLS}
        return Portfolio(self.cash, self.equity, holdings, tuple(self.working))

    def fill(self, index, share):
        if index >= len(self.working):
            return
        order = self.working.pop(index)
        piece = math.copysign(max(1.0, float(int(abs(order.quantity) * share))), order.quantity)
        left = order.quantity - piece
        if order.reduces_only:
            room = -self.held[order.symbol]
            piece = 0.0 if room * piece <= 0 else math.copysign(min(abs(room), abs(piece)), piece)
        self.held[order.symbol] += piece
        self.cash -= piece * self.price[order.symbol]
        if left:
            self.working.append(replace(order, quantity=left))


def play(broker, guard, steps):
    """Run a stream; after each step yield what was decided last, and the broker's state when it was."""
    now = START
    for action, what, how in steps:
        now += timedelta(seconds=7)
        accepted = None
        if action == "order":
            request = OrderRequest(what, float(how), broker.price[what], "market", None, now)
            decision = guard.review(request, broker.portfolio())
            if decision.verdict is not Verdict.REFUSE:
                broker.working.append(WorkingOrder(what, decision.quantity, broker.price[what], decision.reduces_only))
                accepted = decision
        elif action == "fill":
            broker.fill(what, how)
        elif action == "cancel" and what < len(broker.working):
            broker.working.pop(what)
        elif action == "move":
            broker.price[what] *= how
        yield accepted


def guarding(chosen):
    return RiskGuard(chosen, session_of=lambda ts: ts.date(), session_close=lambda day: START + timedelta(hours=6))


def exceeded(chosen, held, price, equity):
    """Names of the limits that these positions break at these prices."""
    values = {name: held[name] * price[name] for name in SYMBOLS}
    gross, net = sum(map(abs, values.values())), abs(sum(values.values()))
    largest = max(map(abs, values.values()))
    checks = {
        "max_position_shares": max(map(abs, held.values())),
        "max_position_value": largest,
        "max_position_fraction": largest / equity,
        "max_gross_exposure": gross / equity,
        "max_net_exposure": net / equity,
    }
    broken = [
        name for name, value in checks.items() if (most := getattr(chosen, name)) is not None and value > most * EPS
    ]
    return broken + ["allow_shorting"] * (not chosen.allow_shorting and min(held.values()) < 0)


def worst_gross(broker):
    """Gross value if on each symbol the worse side of the working orders filled."""
    total = 0.0
    for name in SYMBOLS:
        sides = []
        for sign in (1, -1):
            held, mine = (
                sign * broker.held[name],
                [o for o in broker.working if o.symbol == name and o.quantity * sign > 0],
            )
            closing = min(max(0.0, -held), sum(abs(o.quantity) for o in mine if o.reduces_only))
            sides.append(abs(held + closing + sum(abs(o.quantity) for o in mine if not o.reduces_only)))
        total += max(sides) * broker.price[name]
    return total


@given(limits, still)
@settings(max_examples=300, deadline=None)
def test_while_prices_stand_still_no_fill_ever_exceeds_a_limit(chosen, steps):
    # net exposure is left out: closing one leg of a hedge raises it, and an exit is never refused
    chosen = chosen.model_copy(update={"max_net_exposure": None})
    broker, guard = Broker(), guarding(chosen)

    for _ in play(broker, guard, steps):
        assert exceeded(chosen, broker.held, broker.price, broker.equity) == []


@given(limits, moving)
@settings(max_examples=300, deadline=None)
def test_only_a_price_move_explains_an_exceeded_limit(chosen, steps):
    """Positions never exceed what the limits allowed at the prices and the equity of the last entry let through."""
    chosen = chosen.model_copy(update={"max_net_exposure": None})
    broker, guard = Broker(), guarding(chosen)
    last_by_side, last_any = {}, None

    for accepted in play(broker, guard, steps):
        if accepted is not None and not accepted.reduces_only:
            seen = (dict(broker.price), broker.equity)
            order = broker.working[-1]
            last_by_side[order.symbol, order.quantity > 0] = seen
            # an entry on the lighter side of a symbol goes even after prices moved the heavier side over the limit
            if worst_gross(broker) <= (chosen.max_gross_exposure or math.inf) * broker.equity * EPS:
                last_any = seen
        for name in SYMBOLS:
            held = broker.held[name]
            if held:
                price, equity = last_by_side[name, held > 0]
                alone = {other: held if other == name else 0.0 for other in SYMBOLS}
                one = chosen.model_copy(update={"max_gross_exposure": None})
                assert exceeded(one, alone, price, equity) == []
        if last_any is not None and chosen.max_gross_exposure is not None:
            price, equity = last_any
            gross = sum(abs(broker.held[name]) * price[name] for name in SYMBOLS)
            assert gross <= chosen.max_gross_exposure * equity * EPS


@given(limits, moving, st.sampled_from(HaltState), st.floats(0.01, 1.0))
@settings(max_examples=150, deadline=None)
def test_an_order_that_reduces_is_allowed_in_every_state_at_every_moment(chosen, steps, halt, part):
    broker, guard = Broker(), guarding(chosen)
    for _ in play(broker, guard, steps):
        pass
    state = RiskState(halt=halt)

    for name in SYMBOLS:
        held = broker.held[name]
        others = tuple(order for order in broker.working if order.reduces_only or order.symbol != name)
        portfolio = Portfolio(broker.cash, broker.equity, broker.portfolio().holdings, others)
        quantity = -held * part
        if quantity:
            request = OrderRequest(name, quantity, broker.price[name], "market", None, START)
            decision = decide(request, portfolio, state, chosen)
            assert (decision.verdict, decision.quantity) == (Verdict.ALLOW, quantity)


@given(limits, moving, sizes, sizes)
@settings(max_examples=150, deadline=None)
def test_a_larger_order_never_gets_less_and_no_order_gets_more_than_it_asks(chosen, steps, one, other):
    broker, guard = Broker(), guarding(chosen)
    for _ in play(broker, guard, steps):
        pass
    small, large = sorted((abs(one), abs(other)))
    for side in (1, -1):
        allowed = [
            decide(
                OrderRequest("A", side * size, broker.price["A"], "market", None, START),
                broker.portfolio(),
                guard.state,
                chosen,
            )
            for size in (small, large)
        ]
        assert abs(allowed[0].quantity) <= abs(allowed[1].quantity)
        assert abs(allowed[1].quantity) <= large
        assert all(decision.quantity * side >= 0 for decision in allowed)
        assert all((decision.verdict is Verdict.REFUSE) == (decision.quantity == 0) for decision in allowed)


@given(limits, limits, moving, sizes)
@settings(max_examples=150, deadline=None)
def test_tighter_limits_never_allow_more(chosen, others, steps, size):
    broker, guard = Broker(), guarding(chosen)
    for _ in play(broker, guard, steps):
        pass
    request = OrderRequest("A", float(size), broker.price["A"], "market", None, START)
    loose = decide(request, broker.portfolio(), guard.state, chosen)
    tight = decide(request, broker.portfolio(), guard.state, chosen.tightest(others))

    assert abs(tight.quantity) <= abs(loose.quantity)


@given(limits, moving, st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_a_restored_guard_decides_as_the_first_one_would(chosen, steps, cut):
    broker, guard = Broker(), guarding(chosen)
    twin_broker, twin = Broker(), guarding(chosen)
    whole = [decision and decision.quantity for decision in play(broker, guard, steps)]
    before = [decision and decision.quantity for decision in play(twin_broker, twin, steps[:cut])]
    again = guarding(chosen)
    again.restore(twin.state)
    after = [decision and decision.quantity for decision in play(twin_broker, again, steps[cut:])]

    assert before + after == whole


@given(limits, moving)
@settings(max_examples=100, deadline=None)
def test_every_refusal_and_every_cut_is_recorded_once(chosen, steps):
    broker, guard = Broker(), guarding(chosen)
    asked = sum(1 for step in steps if step[0] == "order")
    passed = [decision for decision in play(broker, guard, steps) if decision is not None]
    kinds = [event.kind for event in guard.events]

    assert kinds.count("refused") == asked - len(passed)
    assert kinds.count("shrunk") == sum(1 for decision in passed if decision.verdict is Verdict.SHRINK)


equities = st.lists(st.floats(1, 1e6), min_size=1, max_size=40)


@given(equities, st.floats(0.01, 0.9), st.floats(0.01, 0.9))
@settings(max_examples=150, deadline=None)
def test_halts_follow_their_definition_whatever_path_equity_takes(path, drawdown, loss):
    """Compared with the definition written out: 7 marks a session, the peak, the last equity of the session before."""
    guard = guarding(Limits(max_drawdown=drawdown, max_daily_loss_fraction=loss, on_daily_loss=HaltState.HALT_ENTRIES))
    guard = RiskGuard(
        guard.limits,
        session_of=lambda ts: ts.date(),
        session_close=lambda day: datetime(day.year, day.month, day.day, 23, tzinfo=UTC),
    )
    peak, start, latched, daily = path[0], path[0], False, False
    for index, equity in enumerate(path):
        if index and index % 7 == 0:
            start, daily = path[index - 1], False
        peak = max(peak, equity)
        latched = latched or equity <= peak * (1 - drawdown)
        daily = daily or equity <= start * (1 - loss)
        expected = HaltState.FLATTEN if latched else HaltState.HALT_ENTRIES if daily else HaltState.ACTIVE

        assert guard.mark_equity(equity, START + timedelta(days=index // 7, minutes=index % 7)) is expected
