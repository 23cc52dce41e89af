"""Cost settings: defaults, names, keys that all have an effect, and costs that are never silently zero."""

from datetime import date

import pytest
from pydantic import ValidationError

from broker.costs import COST_MODELS, CostSettings, Financing, Participation, cost_model
from broker.costs.slippage import BasisPoints, HalfSpread, NoSlippage, VolumeShare
from broker.errors import BrokerError, UnknownCostModelError


def test_the_default_is_ibkr_fixed_and_nothing_in_it_is_free():
    model = CostSettings().build()

    assert model == cost_model("ibkr_fixed")
    assert model.name == "ibkr_fixed"
    assert model.slippage == BasisPoints(5.0)
    assert model.participation == Participation(0.10)
    assert model.financing == Financing(0.0025, 0.06, 0.0)
    assert model.notices == ()
    assert model.notice is None


def test_none_turns_every_cost_off_and_names_each():
    model = cost_model("none")

    assert model.notices == (
        "No commissions and fees were charged (cost model none); a real account pays them.",
        "No slippage: every order fills at its reference price.",
        "No interest on short positions and margin loans.",
    )
    assert model.participation == Participation(0.10)  # what can be filled is no cost


def test_what_is_written_beside_none_counts():
    model = CostSettings(model="none", slippage={"kind": "bps", "bps": 3}, borrow_rate=0.01).build()

    assert model.slippage == BasisPoints(3)
    assert model.financing == Financing(0.01, 0.0, 0.0)


@pytest.mark.parametrize(
    ("slippage", "built"),
    [
        ({"kind": "bps", "bps": 7}, BasisPoints(7)),
        ({"kind": "bps"}, BasisPoints(5)),
        ({"kind": "half_spread", "spread_bps": 4}, HalfSpread(4)),
        ({"kind": "volume_share", "impact": 0.2}, VolumeShare(0.2)),
        ({"kind": "none"}, NoSlippage()),
    ],
)
def test_each_slippage_model_is_built_from_its_own_keys(slippage, built):
    assert CostSettings(slippage=slippage).build().slippage == built


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"slippage": {"kind": "none", "bps": 5}}, "slippage.none.bps"),  # a key that would have no effect
        ({"slippage": {"kind": "half_spread", "bps": 5}}, "slippage.half_spread.bps"),
        ({"slippage": {"kind": "free"}}, "slippage"),
        ({"slippage": {"kind": "bps", "bps": -1}}, "slippage.bps.bps"),
        ({"slippage": {"kind": "bps", "bps": float("nan")}}, "slippage.bps.bps"),
        ({"participation": 0}, "participation"),
        ({"participation": 1.1}, "participation"),
        ({"borrow_rate": -0.1}, "borrow_rate"),
        ({"margin_rate": float("inf")}, "margin_rate"),
        ({"comission": "none"}, "comission"),
        ({"model": "ibkr_tired"}, "model"),
    ],
)
def test_a_wrong_key_or_value_is_refused_where_it_stands(settings, where):
    with pytest.raises(ValidationError) as caught:
        CostSettings(**settings)
    assert [".".join(str(part) for part in error["loc"]) for error in caught.value.errors()] == [where]


def test_every_other_key_has_an_effect():
    model = CostSettings(
        model="ibkr_tiered", participation=None, borrow_rate=0.1, margin_rate=0.2, cash_rate=0.3
    ).build()

    assert model.rates is not None
    assert model.rates.third_party
    assert model.participation == Participation(None)
    assert model.financing == Financing(0.1, 0.2, 0.3)
    assert model.notices == ("Fills are not limited by volume.",)


def test_settings_may_be_just_a_name_and_survive_json():
    settings = CostSettings.model_validate("ibkr_tiered")

    assert settings == CostSettings(model="ibkr_tiered")
    for model in COST_MODELS:
        written = CostSettings(model=model)
        assert CostSettings.model_validate_json(written.model_dump_json()) == written


def test_an_unknown_model_is_named_with_the_near_match():
    with pytest.raises(UnknownCostModelError, match=r"costs: 'ibkr_fix' is not one of .*; did you mean ibkr_fixed"):
        cost_model("ibkr_fix")
    assert issubclass(UnknownCostModelError, BrokerError)


def test_a_run_outside_the_known_fee_rates_says_so():
    model = cost_model("ibkr_fixed")

    assert model.notices_for(date(2000, 1, 3), date(2012, 12, 31)) == ()
    assert model.notices_for(date(1990, 1, 2), date(2030, 1, 2)) == (
        "Regulatory fees before 1996-10-01 are charged at the rates of that day.",
        "Regulatory fees after 2026-02-27 are charged at the last rates known then.",
    )
    assert cost_model("none").notices_for(date(1990, 1, 2), date(2030, 1, 2)) == cost_model("none").notices
