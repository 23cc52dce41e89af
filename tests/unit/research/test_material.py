"""What is read off a study for its statistics."""

import numpy as np
import pytest

from research.errors import StudyError
from research.hold_out import look_at_hold_out
from research.material import material_of
from research.study.records import RETURNS_SCHEMA, load_study, save_page, save_tables
from tests.unit.research.studies import MOMENT, finished, noise, specification


def test_all_trials_with_their_returns_and_the_best_from_all_sides(tmp_path):
    record = finished(tmp_path, specification(), noise())
    found = material_of(record, noise())
    assert found.returns.shape == (16, 800)
    assert found.values[found.best] == np.nanmax(found.values) == found.evidence.value
    assert np.allclose(found.returns[found.best], found.evidence.daily)
    assert found.params[found.best] == record.best["params"]
    assert (found.tried, found.tried_ever) == (16, 16)
    assert (found.hold_out, found.hold_out_remark) == (None, "Nobody has looked at the hold-out yet.")
    assert found.walk_forward is None


def test_every_trial_ever_run_on_a_symbol_counts(tmp_path):
    finished(tmp_path, specification("earlier"), noise())
    other = specification("elsewhere", experiment={"symbols": ["B"]})
    save_page(
        tmp_path, {**load_study(tmp_path, "earlier").page, "name": "elsewhere", "specification": other.document()}
    )
    record = finished(tmp_path, specification(), noise())
    found = material_of(record, noise())
    assert (found.tried, found.tried_ever) == (16, 32)


def test_a_look_is_told_until_it_is_spent(tmp_path):
    finished(tmp_path, specification(), noise())
    looked = look_at_hold_out(tmp_path, "demo", noise(), now=MOMENT)
    record = load_study(tmp_path, "demo")
    assert material_of(record, noise()).hold_out == looked.metrics
    save_page(tmp_path, {**record.page, "trials_run": 17})
    spent = material_of(load_study(tmp_path, "demo"), noise())
    assert spent.hold_out is None
    assert "1 trials were run after the hold-out was looked at" in spent.hold_out_remark


def test_trials_that_saw_only_a_part_are_left_out(tmp_path):
    record = finished(tmp_path, specification(), noise())
    table = record.returns
    rows = table["returns"].to_pylist()
    pruned = next(number for number in range(16) if number != record.best["number"])
    rows[pruned][-1] = float("nan")
    save_tables(tmp_path, "demo", {"returns": table.set_column(1, RETURNS_SCHEMA.field("returns"), [rows])})
    found = material_of(record, noise())
    assert pruned not in found.numbers
    assert found.returns.shape == (15, 800)
    assert found.tried == 16


def test_without_returns_there_is_nothing_to_judge(tmp_path):
    record = finished(tmp_path, specification(), noise())
    save_tables(tmp_path, "demo", {"returns": RETURNS_SCHEMA.empty_table()})
    with pytest.raises(StudyError, match="daily returns of demo's best trial"):
        material_of(record, noise())
