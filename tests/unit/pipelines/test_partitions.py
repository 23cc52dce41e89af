"""Keys of symbols and experiments, and the ranges that Dagster can run."""

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import PipelineError
from pipelines.partitions import (
    add_keys,
    contiguous_blocks,
    experiment_key,
    misnamed_files,
    partition_change,
    symbol_keys,
    symbol_of,
    symbol_partitions,
    yaml_keys,
)

symbols = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=8)


@given(symbols)
def test_a_key_gives_its_symbol_back_and_holds_nothing_dagster_reads(symbol):
    (key,) = symbol_keys([symbol])
    assert symbol_of(key) == symbol
    assert "|" not in key
    assert "..." not in key
    assert "/" not in key


@given(st.lists(st.integers(0, 30), unique=True), st.sets(st.integers(0, 30)))
def test_blocks_cover_exactly_the_wanted_keys(order, wanted):
    ordered = [f"S{number}" for number in order]
    chosen = {f"S{number}" for number in wanted} & set(ordered)
    covered = []
    for first, last in contiguous_blocks(ordered, chosen):
        covered += ordered[ordered.index(first) : ordered.index(last) + 1]
    assert sorted(covered) == sorted(chosen)


def test_neighbours_make_one_block():
    assert contiguous_blocks(["A", "B", "C", "D"], ["D", "B", "A"]) == [("A", "B"), ("D", "D")]


def test_a_key_that_does_not_exist_is_named():
    with pytest.raises(PipelineError, match="'Z' does not exist"):
        contiguous_blocks(["A"], ["Z"])


def test_keys_with_data_stay_although_nobody_wants_them():
    change = partition_change(["A", "B", "C"], ["B", "D"], keep=["C"])
    assert (change.add, change.delete) == (("D",), ("A",))


def test_nothing_is_deleted_while_a_run_is_in_flight():
    change = partition_change(["A", "B"], ["B", "D"], in_flight=True)
    assert (change.add, change.delete) == (("D",), ())


def test_keys_are_added_sorted_in_one_call_and_never_twice():
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("symbols", ["M"])
        assert add_keys(instance, symbol_partitions, ["Z", "M", "A"]) == ["A", "Z"]
        assert list(instance.get_dynamic_partitions("symbols")) == ["M", "A", "Z"]


@pytest.mark.parametrize("name", ["a/b", "a|b", "a...b", "", ".hidden", "a b"])
def test_an_experiment_name_that_is_no_key_is_refused(name):
    with pytest.raises(PipelineError, match="must hold only letters"):
        experiment_key(name)


def test_the_users_experiment_wins_over_a_recorded_one_of_the_same_name(tmp_path):
    for folder, names in (("mine", ["a.yaml"]), ("recorded", ["a.yaml", "b.yml", "c.txt"])):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    found = yaml_keys(tmp_path / "mine", tmp_path / "recorded", tmp_path / "absent")
    assert found == {"a": tmp_path / "mine" / "a.yaml", "b": tmp_path / "recorded" / "b.yml"}


def test_a_file_whose_name_is_no_key_is_told_and_stops_nobody(tmp_path):
    for name in ("good.yaml", "not good.yaml"):
        (tmp_path / name).touch()
    assert yaml_keys(tmp_path) == {"good": tmp_path / "good.yaml"}
    assert misnamed_files(tmp_path) == [tmp_path / "not good.yaml"]
