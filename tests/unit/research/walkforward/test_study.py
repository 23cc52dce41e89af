"""The walk-forward of a study: the study's own search, window after window, without its hold-out."""

import datetime as dt

import pytest

from research.errors import StudyError
from research.study import local_workers
from research.walkforward.files import load_walk_forward
from research.walkforward.study import planned, searched_range, walk_forward
from research.walkforward.windows import WalkForwardSettings
from tests.unit.research.studies import SPACE, noise, specification, trending

YEAR = WalkForwardSettings(train=12, test=4, step=4)
COMBINATIONS = 4 * 4


def test_every_combination_of_the_grid_is_tried_in_every_window(tmp_path):
    record = walk_forward(specification(), noise(), YEAR, results=tmp_path)
    assert len(SPACE) == 2
    assert [window["trials"] for window in record.page["windows"]] == [COMBINATIONS] * len(record.page["windows"])
    for window in record.page["windows"]:
        assert window["in_sample"]["sharpe_ratio"] == pytest.approx(window["searched"])
        assert window["params"].keys() >= set(SPACE)


@pytest.mark.thorough
def test_a_sampler_tries_its_number_of_trials_and_a_seed_repeats_it(tmp_path):
    spec = specification(sampler="tpe", n_trials=12, seed=5)
    one = walk_forward(spec, noise(), YEAR, results=tmp_path / "one")
    two = walk_forward(spec, noise(), YEAR, results=tmp_path / "two")
    assert {window["trials"] for window in one.page["windows"]} == {12}
    assert one.equity.equals(two.equity)
    assert one.windows.equals(two.windows)


def test_the_hold_out_is_no_part_of_it(tmp_path):
    bars = noise()
    sessions = bars["A"]["session"].to_pylist()
    spec = specification()
    prepared = searched_range(spec, bars)
    assert len(prepared.bars["A"]) == 800
    assert prepared.experiment.start == dt.date(2020, 1, 1)
    assert prepared.experiment.end == sessions[799]
    record = walk_forward(spec, bars, YEAR, results=tmp_path)
    assert record.equity["session"].to_pylist()[-1] <= sessions[799]
    assert planned(spec, bars, YEAR).windows[-1].test_end <= sessions[799]


def test_bars_that_begin_late_are_not_searched_before_they_begin():
    spec = specification(experiment={"start": "2015-01-01"})
    first = planned(spec, noise(), YEAR).windows[0]
    assert first.train_start == dt.date(2020, 1, 2)


@pytest.mark.thorough
def test_an_edge_survives_and_noise_does_not(tmp_path):
    edge = walk_forward(specification("edge"), trending(), YEAR, results=tmp_path)
    luck = walk_forward(specification("luck"), noise(), YEAR, results=tmp_path)
    assert edge.summary["efficiency"] > 0.7
    assert edge.metrics["sharpe_ratio"] > 1.0
    assert luck.summary["efficiency"] is None or luck.summary["efficiency"] < 0.7
    assert load_walk_forward(tmp_path, "edge").summary == edge.summary


@pytest.mark.thorough
def test_it_goes_on_under_its_name_and_is_stopped_between_windows(tmp_path):
    done = []
    stopped = walk_forward(
        specification(), noise(), YEAR, results=tmp_path, progress=done.append, stop=lambda: len(done) >= 2
    )
    assert stopped is None
    told, trials = [], []
    record = walk_forward(
        specification(),
        noise(),
        YEAR,
        results=tmp_path,
        progress=told.append,
        searching=lambda window, now: trials.append((window.number, now.done, now.total)),
    )
    assert trials[0][0] == 2
    assert trials[-1][1:] == (COMBINATIONS, COMBINATIONS)
    assert [one.kept for one in told][:3] == [True, True, False]
    whole = walk_forward(specification(), noise(), YEAR, results=tmp_path / "whole")
    assert record.equity.equals(whole.equity)


def test_a_range_too_short_says_so(tmp_path):
    with pytest.raises(StudyError, match="too few to train on 120 months"):
        walk_forward(specification(), noise(), WalkForwardSettings(train=120), results=tmp_path)


def test_a_strategy_that_decides_bar_by_bar_walks_forward(tmp_path):
    spec = specification(
        experiment={"strategy": "strategies.momentum.DualMomentum"},
        space={"lookback": {"type": "int", "low": 21, "high": 42, "step": 21}},
    )
    record = walk_forward(spec, trending(), WalkForwardSettings(train=18, test=6, step=6), results=tmp_path)
    assert all(window["trials"] == 2 for window in record.page["windows"])
    assert record.summary["tested"] == len(record.page["windows"]) > 1


@pytest.mark.thorough
def test_workers_change_nothing(tmp_path):
    spec = specification(sampler="tpe", n_trials=12, batch=4)
    here = walk_forward(spec, noise(), YEAR, results=tmp_path / "here")
    with local_workers(2) as executor:
        there = walk_forward(spec, noise(), YEAR, results=tmp_path / "there", executor=executor, workers=2)
    assert there.equity.equals(here.equity)
    assert there.windows.equals(here.windows)


def test_a_parameter_that_changes_nothing_in_a_window_ends_no_walk_forward(tmp_path):
    """Averages as long as the window never trade in it: those windows say so, no error is raised."""
    space = {"sma_short": [*range(3, 15)], "sma_long": [240, 250]}
    document = {name: {"type": "categorical", "choices": values} for name, values in space.items()}
    record = walk_forward(specification(space=document), noise(), YEAR, results=tmp_path)
    assert all(window["trials"] == 24 for window in record.page["windows"])
    assert record.page["drift"].keys() == {"sma_short", "sma_long"}
