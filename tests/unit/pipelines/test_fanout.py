"""One step, many partitions: the good ones are reported, the bad ones are told, the run fails last."""

import os
import signal
import threading
from collections.abc import Callable, Mapping

import dagster as dg
import pytest

from pipelines.fanout import Done, Recipe, fan_out
from pipelines.keys import ERROR_FACT
from pipelines.stamps import read_stamp
from warehouse.errors import NoDataError

FIVE = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
partitions = dg.DynamicPartitionsDefinition(name="symbols")


def chain(*works: Callable[[str], Done], workers: int = 2) -> list[dg.AssetsDefinition]:
    """Assets a0 -> a1 -> ..., one for each work."""
    return [_link(f"a{i}", [f"a{i - 1}"] if i else [], work, workers) for i, work in enumerate(works)]


def _link(name, deps, work, workers):
    @dg.asset(
        name=name,
        deps=deps,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        dagster_type=dg.Nothing,
        code_version="7",
    )
    def link(context: dg.AssetExecutionContext):
        yield from fan_out(context, work, workers=workers)

    return link


def run(instance, assets, keys=FIVE) -> dg.ExecuteInProcessResult:
    instance.add_dynamic_partitions("symbols", FIVE)
    tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    return dg.materialize(assets, instance=instance, tags=tags, raise_on_error=False)


def statuses(instance, name) -> Mapping[str, str]:
    found = instance.get_status_by_partition(dg.AssetKey(name), FIVE, partitions)
    return {key: status.value if status else "MISSING" for key, status in found.items()}


def good(key: str) -> Done:
    return Done(f"v-{key}", {"letters": len(key)})


def without_goog(key: str) -> Done:
    if key == "GOOG":
        raise NoDataError("GOOG: nothing came.")
    return good(key)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_one_failure_among_five_loses_neither_the_others_nor_what_follows(instance):
    result = run(instance, chain(without_goog, good, good))
    expected = {key: "FAILED" if key == "GOOG" else "MATERIALIZED" for key in FIVE}
    assert not result.success
    assert [statuses(instance, name) for name in ("a0", "a1", "a2")] == [expected] * 3


def test_only_the_last_step_fails_and_names_every_failure_of_the_run(instance):
    def without_fb(key: str) -> Done:
        if key == "FB":
            raise NoDataError("FB: nothing came.")
        return good(key)

    result = run(instance, chain(without_goog, without_fb, good))
    failures = {event.step_key: event.step_failure_data.error.message for event in result.get_step_failure_events()}
    assert list(failures) == ["a2"]
    assert "2 of 5 failed" in failures["a2"]
    assert "GOOG: a0: GOOG: nothing came." in failures["a2"]
    assert "FB: a1: FB: nothing came." in failures["a2"]


def test_work_downstream_is_not_even_tried_for_what_failed_upstream(instance):
    tried = []

    def note(key: str) -> Done:
        tried.append(key)
        return good(key)

    run(instance, chain(without_goog, note), FIVE)
    assert sorted(tried) == ["AAPL", "FB", "IBM", "MSFT"]


def test_a_later_run_for_the_failed_one_alone_mends_it(instance):
    run(instance, chain(without_goog, good))
    result = run(instance, chain(good, good), ["GOOG"])
    assert result.success
    assert set(statuses(instance, "a1").values()) == {"MATERIALIZED"}


def test_each_partition_of_a_range_has_its_own_metadata_and_data_version(instance):
    run(instance, chain(good))
    for key in FIVE:
        record = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey("a0"), asset_partitions=[key]), limit=1
        ).records[0]
        event = record.asset_materialization
        assert event.metadata["letters"].value == len(key)
        assert event.tags["dagster/data_version"] == f"v-{key}"
        assert event.tags["dagster/code_version"] == "7"


def test_a_partition_is_reported_once(instance):
    result = run(instance, chain(good))
    reported = [event.partition for event in result.all_events if event.is_step_materialization]
    assert reported == FIVE


def test_a_failed_partition_leaves_an_observation_with_the_reason(instance):
    run(instance, chain(without_goog))
    records = instance.fetch_observations(dg.AssetKey("a0"), limit=5).records
    assert [(r.partition_key, r.asset_observation.metadata[ERROR_FACT].value) for r in records] == [
        ("GOOG", "GOOG: nothing came.")
    ]


def test_a_fault_of_ours_is_told_with_its_type_and_loses_no_other_partition(instance):
    def broken(key: str) -> Done:
        return Done(key, {"one": 1 // (len(key) - 2)})

    result = run(instance, chain(broken))
    (failure,) = result.get_step_failure_events()
    assert "1 of 5 failed" in failure.step_failure_data.error.message
    assert "FB: ZeroDivisionError" in failure.step_failure_data.error.message


def test_no_more_partitions_are_worked_on_at_once_than_workers(instance):
    together, most = threading.Semaphore(2), []

    def watch(key: str) -> Done:
        most.append(together.acquire(blocking=False))
        threading.Event().wait(0.01)
        together.release()
        return good(key)

    run(instance, chain(watch, workers=2))
    assert most == [True] * 5


def _recipe(made: list[str], *, inputs: str = "i", conditions: str = "c", standing: str | None = "v") -> Recipe:
    def make(key: str) -> str:
        made.append(key)
        return "v"

    return Recipe(
        inputs=lambda key: {dg.AssetKey("up"): inputs},
        conditions=conditions,
        standing=lambda key: standing,
        make=make,
        describe=lambda key: {"name": key},
    )


@pytest.mark.parametrize(
    ("change", "again"),
    [({}, False), ({"inputs": "j"}, True), ({"conditions": "d"}, True), ({"standing": None}, True),
     ({"standing": "w"}, True)],
)  # fmt: skip
def test_a_partition_is_made_again_only_when_something_it_came_from_changed(tmp_path, change, again):
    made: list[str] = []
    first = _recipe(made).work(tmp_path, dg.AssetKey("x"))("K")
    second = _recipe(made, **change).work(tmp_path, dg.AssetKey("x"))("K")
    assert not first.unchanged
    assert second.unchanged is not again
    assert made == ["K", "K"] if again else ["K"]
    assert second.metadata == {"name": "K"}


def test_a_damaged_stamp_means_work_not_trust(tmp_path):
    made: list[str] = []
    _recipe(made).work(tmp_path, dg.AssetKey("x"))("K")
    (tmp_path / "stamps" / "x" / "K.json").write_text("{half")
    assert read_stamp(tmp_path, "x", "K") is None
    _recipe(made).work(tmp_path, dg.AssetKey("x"))("K")
    assert made == ["K", "K"]


def test_long_work_is_told_when_the_run_is_terminated(instance):
    told, heard = threading.Event(), []

    def long(key: str) -> Done:
        os.kill(os.getpid(), signal.SIGINT)
        heard.append(told.wait(20))
        return good(key)

    @dg.asset(name="long", partitions_def=partitions, dagster_type=dg.Nothing)
    def asset(context: dg.AssetExecutionContext):
        yield from fan_out(context, long, interrupted=told.set)

    instance.add_dynamic_partitions("symbols", ["AAPL"])
    ended = dg.materialize([asset], instance=instance, partition_key="AAPL", raise_on_error=False)
    assert (heard, ended.success) == ([True], False)
