"""Limits as a person writes them: units, profiles, the stricter of two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from risk.errors import RiskError, UnknownProfileError
from risk.limits import Limits
from risk.states import HaltState, worse


def test_limits_without_a_field_limit_nothing_and_say_so():
    assert Limits().unlimited
    assert Limits().notice == "No risk limits: every order was allowed."
    assert Limits().describe() == []


@pytest.mark.parametrize(
    "field", [name for name in Limits.model_fields if name.startswith(("max_", "flat_", "price_"))]
)
def test_every_single_limit_counts_as_a_limit(field):
    limits = Limits(**{field: 1})

    assert not limits.unlimited
    assert limits.notice is None
    assert any(line.startswith(f"{field} = ") for line in limits.describe())


def test_forbidding_shorts_alone_is_a_limit():
    assert not Limits(allow_shorting=False).unlimited
    assert Limits(allow_shorting=False).describe() == ["allow_shorting = False (Whether a position may go below zero)"]


def test_reactions_without_their_limit_are_no_limit_and_are_not_told():
    reactions = Limits(on_drawdown=HaltState.HALT_ENTRIES, cooldown_minutes=5)

    assert reactions.unlimited
    assert reactions.describe() == []


def test_reactions_are_told_beside_their_limit():
    lines = Limits(max_drawdown=0.2, on_drawdown=HaltState.REDUCE_ONLY).describe()

    assert lines == [
        "max_drawdown = 0.2 (Fall from the highest equity, fraction)",
        "on_drawdown = REDUCE_ONLY (State after the drawdown limit)",
    ]


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize(
    "field", ["max_position_fraction", "max_daily_loss", "max_drawdown", "flat_before_close_minutes"]
)
def test_a_limit_that_is_no_positive_number_is_refused(field, value):
    with pytest.raises(ValidationError, match=field):
        Limits(**{field: value})


def test_a_misspelt_limit_is_refused():
    with pytest.raises(ValidationError, match="max_drawdwon"):
        Limits(max_drawdwon=0.2)


@pytest.mark.parametrize("field", ["on_daily_loss", "on_drawdown"])
def test_a_limit_must_do_something_when_it_trips(field):
    with pytest.raises(ValidationError, match="a limit that changes nothing is no limit"):
        Limits(**{field: "ACTIVE"})


def test_the_conservative_profile_holds_the_values_users_know():
    limits = Limits.named("conservative")

    assert limits.max_position_fraction == 0.10
    assert limits.max_gross_exposure == 0.50  # five positions
    assert limits.max_order_value == 50_000
    assert limits.max_orders_per_minute == 10
    assert limits.max_daily_loss_fraction == 0.02
    assert limits.on_daily_loss is HaltState.FLATTEN
    assert limits.max_drawdown == 0.20
    assert limits.flat_before_close_minutes == 5  # 15:55 New York


def test_the_default_profile_is_not_unlimited():
    assert Limits.default() == Limits(max_position_fraction=1.0, max_gross_exposure=2.0)


def test_a_profile_may_be_written_as_text_or_as_a_key_that_others_change():
    assert Limits.model_validate("conservative") == Limits.named("conservative")
    mixed = Limits.model_validate({"profile": "conservative", "max_drawdown": 0.1, "max_order_value": None})
    assert mixed == Limits.named("conservative").model_copy(update={"max_drawdown": 0.1, "max_order_value": None})


def test_an_unknown_profile_is_named_with_the_near_match():
    with pytest.raises(
        UnknownProfileError, match="limits: 'conservativ' is not one of none, default, conservative; did"
    ):
        Limits.named("conservativ")
    with pytest.raises(ValidationError, match="profile 'agressive' is not one of"):
        Limits.model_validate({"profile": "agressive"})
    assert issubclass(UnknownProfileError, RiskError)


def test_limits_survive_json():
    limits = Limits.named("conservative")

    assert Limits.model_validate_json(limits.model_dump_json()) == limits


def test_the_stricter_of_each_limit_wins():
    mine = Limits(max_drawdown=0.2, max_orders_per_minute=5, flat_before_close_minutes=5, allow_shorting=True)
    theirs = Limits(max_drawdown=0.1, max_open_orders=3, flat_before_close_minutes=15, allow_shorting=False)

    assert mine.tightest(theirs) == Limits(
        max_drawdown=0.1,
        max_orders_per_minute=5,
        max_open_orders=3,
        flat_before_close_minutes=15,  # earlier is stricter
        allow_shorting=False,
    )


def test_the_reaction_comes_from_the_side_that_limits():
    gentle = Limits(max_drawdown=0.3, on_drawdown=HaltState.HALT_ENTRIES, max_consecutive_losses=3, cooldown_minutes=5)

    assert gentle.tightest(Limits()).on_drawdown is HaltState.HALT_ENTRIES
    assert Limits().tightest(gentle).cooldown_minutes == 5
    assert gentle.tightest(Limits(max_drawdown=0.5)).on_drawdown is HaltState.FLATTEN
    assert gentle.tightest(Limits(max_consecutive_losses=9, cooldown_minutes=60)).cooldown_minutes == 60


_LIMITS = st.builds(
    Limits,
    max_position_fraction=st.none() | st.floats(0.01, 5),
    max_drawdown=st.none() | st.floats(0.01, 1),
    max_open_orders=st.none() | st.integers(1, 9),
    flat_before_close_minutes=st.none() | st.floats(1, 60),
    max_consecutive_losses=st.none() | st.integers(1, 9),
    cooldown_minutes=st.floats(1, 90),
    allow_shorting=st.booleans(),
    on_drawdown=st.sampled_from([s for s in HaltState if s is not HaltState.ACTIVE]),
)


@given(_LIMITS, _LIMITS, _LIMITS)
def test_taking_the_stricter_is_idempotent_and_does_not_care_about_grouping(first, second, third):
    assert first.tightest(first) == first
    assert first.tightest(second).tightest(third) == first.tightest(second.tightest(third))


@given(st.sampled_from(HaltState), st.sampled_from(HaltState))
def test_the_worse_of_two_states_is_at_least_as_severe_as_each(first, second):
    assert worse(first, second).severity == max(first.severity, second.severity)


def test_states_grow_in_severity():
    assert [state.severity for state in HaltState] == [0, 1, 2, 3]
    assert list(HaltState) == ["ACTIVE", "HALT_ENTRIES", "REDUCE_ONLY", "FLATTEN"]
