"""What every strategy on the base has: declared parameters, limits, decisions per symbol."""

import inspect
import textwrap
from datetime import date

import backtrader as bt
import pytest

from risk.limits import Limits
from strategies.base_strategy import BaseStrategy
from strategies.errors import ParameterError
from strategies.parameters import Constraint, Float, Int, ParameterSpace
from tests.unit.strategies.markets import frame, run


class Always(BaseStrategy):
    """Long from the first bar at which its average is ready."""

    space = ParameterSpace({"period": Int(2, 20, default=3, valid=(1, 100))})

    def indicators(self, data):
        return {"average": bt.ind.SMA(data.close, period=self.p.period)}

    def decide(self, data):
        self.enter_long(data)


class Short(BaseStrategy):
    def decide(self, data):
        self.enter_short(data)


FLAT = [100.0] * 30


def test_parameters_are_declared_once_and_known_to_backtrader():
    assert run(Always, FLAT).strategy.p.period == 3
    assert run(Always, FLAT, period=7).strategy.p.period == 7


def test_the_space_has_the_parameters_of_the_base_too():
    assert list(Always.space.tuned) == ["period"]
    assert set(BaseStrategy.space.parameters) < set(Always.space.parameters)


def test_a_bad_value_is_refused_when_the_strategy_is_built():
    with pytest.raises(ParameterError, match=r"^period must be between 1 and 100, not 0\.$"):
        run(Always, FLAT, period=0)


def test_a_subclass_may_change_a_default_in_params():
    class Half(Always):
        params = (("target_fraction", 0.5), ("period", 5))

    assert Half.space.defaults["target_fraction"] == 0.5
    assert run(Half, FLAT).sizes() == [500.0]
    assert run(Half, FLAT).fills[0].decided == 5
    assert Always.space.defaults["target_fraction"] == 0.95


def test_a_subclass_cannot_default_to_a_bad_value():
    with pytest.raises(ParameterError, match="default must be between"):
        type("Bad", (Always,), {"params": {"period": 0}})


def test_a_subclass_inherits_constraints_and_adds_its_own():
    class Two(Always):
        space = ParameterSpace({"longer": Int(5, 50, default=10)}, (Constraint("period < longer"),))

    class Three(Two):
        pass

    with pytest.raises(ParameterError, match="period < longer must hold, but period = 20, longer = 10"):
        run(Three, FLAT, period=20)


def test_a_constraint_on_an_unknown_parameter_is_refused_at_the_class():
    with pytest.raises(ParameterError, match="periods is not a parameter"):
        type("Bad", (Always,), {"space": ParameterSpace({}, (Constraint("periods > 1"),))})


def test_undeclared_parameters_in_params_are_possible():
    class Free(Always):
        params = (("note", "x"),)

    assert run(Free, FLAT, note="y").strategy.p.note == "y"


# ---------------------------------------------------------------------- every parameter of the base has an effect


def test_target_fraction_is_the_part_of_equity_invested():
    assert run(Always, FLAT, target_fraction=0.5).sizes() == [500.0]


def test_target_fraction_is_split_equally_among_the_symbols():
    done = run(Always, {"A": FLAT, "B": FLAT, "C": FLAT, "D": [50.0] * 30}, target_fraction=0.8)
    assert [done.sizes(symbol) for symbol in "ABCD"] == [[200.0], [200.0], [200.0], [400.0]]


def test_cash_reserve_is_left_of_the_free_cash():
    assert run(Always, FLAT, target_fraction=1.0, cash_reserve=0.2).sizes() == [800.0]


def test_max_position_size_caps_what_is_asked_for():
    assert run(Always, FLAT, max_position_size=0.3).sizes() == [300.0]


def test_max_concentration_caps_what_is_asked_for_and_is_a_limit():
    assert run(Always, FLAT, max_concentration=0.2).sizes() == [200.0]
    assert Always.limits_for({"max_concentration": 0.2}).max_position_fraction == 0.2


def test_a_cap_holds_for_a_weight_that_the_strategy_names_itself():
    class Greedy(BaseStrategy):
        def decide(self, data):
            self.enter_long(data, weight=0.9)

    assert run(Greedy, FLAT, max_position_size=0.25).sizes() == [250.0]


@pytest.mark.parametrize(
    ("parameter", "limit"),
    [
        ("max_gross_exposure", "max_gross_exposure"),
        ("max_daily_loss", "max_daily_loss_fraction"),
        ("max_drawdown", "max_drawdown"),
    ],
)
def test_risk_parameters_become_limits(parameter, limit):
    assert getattr(Always.limits_for({}), limit) is None
    assert getattr(Always.limits_for({parameter: 0.07}), limit) == 0.07
    assert getattr(run(Always, FLAT, **{parameter: 0.07}).strategy.limits(), limit) == 0.07


def test_allow_short_lets_sell_signals_open_and_is_a_limit():
    assert run(Short, FLAT).fills == []
    assert run(Short, FLAT, allow_short=True).sizes() == [-950.0]
    assert Short.limits_for({}).allow_shorting is False
    assert Short.limits_for({"allow_short": True}).allow_shorting is True


def test_limits_only_tighten_an_experiments():
    merged = Limits(max_drawdown=0.1).tightest(Always.limits_for({"max_drawdown": 0.2, "max_daily_loss": 0.02}))
    assert (merged.max_drawdown, merged.max_daily_loss_fraction) == (0.1, 0.02)


def test_limits_of_bad_parameters_are_refused():
    with pytest.raises(ParameterError, match="Did you mean max_drawdown"):
        Always.limits_for({"max_drawdwn": 0.2})


def test_every_parameter_of_the_base_is_in_its_manual():
    for name in BaseStrategy.space.parameters:
        assert f"    {name}: " in inspect.getdoc(BaseStrategy)


def test_the_example_of_the_manual_runs():
    example = inspect.getdoc(BaseStrategy).split("Then write two methods:")[1].split("`decide` is called")[0]
    known = {"BaseStrategy": BaseStrategy, "ParameterSpace": ParameterSpace, "Int": Int, "bt": bt}
    exec(textwrap.dedent(example), known)  # noqa: S102
    assert run(known["MyTrend"], [100.0] * 60 + [110.0] * 5).fills[0].decided == 61


# ---------------------------------------------------------------------- decisions


def test_a_symbol_trades_as_soon_as_its_own_indicators_are_ready():
    bars = {"OLD": frame(FLAT), "NEW": frame([50.0] * 10, start=date(2020, 1, 21))}
    done = run(Always, bars, period=4)
    assert [(fill.symbol, fill.decided) for fill in done.fills] == [("OLD", 4), ("NEW", 4)]


@pytest.mark.parametrize("runonce", [True, False])
def test_a_symbol_that_never_becomes_ready_does_not_hold_up_the_others(runonce):
    bars = {"OLD": frame(FLAT), "NEW": frame([50.0] * 5, start=date(2020, 1, 21))}
    done = run(Always, bars, period=20, runonce=runonce)
    assert [(fill.symbol, fill.decided) for fill in done.fills] == [("OLD", 20)]


@pytest.mark.parametrize("runonce", [True, False])
def test_a_bar_is_decided_on_once_and_only_when_it_is_new(runonce):
    calls = []

    class Counting(Always):
        def decide(self, data):
            calls.append((data._name, len(data), data.close[0], self.ind[data].average[0]))

    gap = frame([10.0, 20.0, 30.0, 40.0]).drop(index=["2020-01-02"])
    run(Counting, {"A": frame([1.0, 2.0, 3.0, 4.0]), "B": gap}, period=2, runonce=runonce)
    assert calls == [
        ("A", 2, 2.0, 1.5),
        ("A", 3, 3.0, 2.5),
        ("B", 2, 30.0, 20.0),
        ("A", 4, 4.0, 3.5),
        ("B", 3, 40.0, 35.0),
    ]


def test_a_bar_without_a_close_is_not_decided_on():
    done = run(Always, [100.0, 100.0, float("nan"), 100.0, 100.0, 100.0, 100.0, 100.0], period=1)
    decided = []

    class Watching(BaseStrategy):
        def decide(self, data):
            decided.append(len(data))

    run(Watching, [100.0, 100.0, float("nan"), 100.0])
    assert decided == [1, 2, 4]
    assert done.fills[0].decided == 1


def test_a_strategy_that_overrides_notify_order_keeps_its_stop():
    class Deaf(BaseStrategy):
        def notify_order(self, order):
            pass

        def decide(self, data):
            if len(data) == 1:
                self.enter_long(data, stop=90.0)

    assert run(Deaf, [100.0, 100.0, 100.0, 85.0, 85.0]).sizes() == [950.0, -950.0]


def test_pending_is_true_from_the_order_to_its_fill():
    seen = []

    class Watching(Always):
        def decide(self, data):
            self.enter_long(data)
            seen.append((self.pending(data), self.side(data), self.getposition(data).size))

    run(Watching, [100.0] * 4, period=2)
    assert seen == [(True, 1, 0), (False, 1, 950), (False, 1, 950)]


def test_a_parameter_of_the_base_may_be_narrowed():
    class LongOnly(BaseStrategy):
        space = ParameterSpace({"target_fraction": Float(0.1, 0.3, default=0.2, tuned=False)})

    with pytest.raises(ParameterError, match=r"target_fraction must be between 0\.1 and 0\.3, not 0\.95"):
        run(LongOnly, FLAT, target_fraction=0.95)


def test_a_subclass_may_have_plain_backtrader_parameters_that_are_no_limits():
    class Extra(BaseStrategy):
        params = (("extra", 3),)

    assert Extra.limits_for({"extra": 4, "max_drawdown": 0.2}).max_drawdown == 0.2
