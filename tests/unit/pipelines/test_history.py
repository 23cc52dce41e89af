"""The history that stays open holds exactly what Dagster's own storage holds."""

from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pytest
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

from pipelines.history import OpenSqliteStorage


def _instance(folder, storage):
    config = {"custom": {"module": storage.__module__, "class": storage.__name__, "config": {"base_dir": str(folder)}}}
    return dg.DagsterInstance.from_config(str(folder), config_filename=_written(folder, config))


def _written(folder, storage):
    import yaml

    folder.mkdir(exist_ok=True)
    (folder / "instance.yaml").write_text(yaml.safe_dump({"storage": storage, "telemetry": {"enabled": False}}))
    return "instance.yaml"


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["A", "B"]))
def thing():
    return None


def _materialize(instance, partition):
    assert dg.materialize([thing], instance=instance, partition_key=partition).success


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("writer", "reader"), [(OpenSqliteStorage, DagsterSqliteStorage), (DagsterSqliteStorage, OpenSqliteStorage)]
)
def test_either_storage_reads_what_the_other_wrote(tmp_path, writer, reader):
    with _instance(tmp_path / "home", writer) as instance:
        _materialize(instance, "A")
    with _instance(tmp_path / "home", reader) as instance:
        _materialize(instance, "B")
        assert instance.get_materialized_partitions(thing.key) == {"A", "B"}
        assert len(instance.get_runs()) == 2


def test_events_from_threads_are_all_kept(tmp_path):
    with _instance(tmp_path / "home", OpenSqliteStorage) as instance, ThreadPoolExecutor(4) as pool:
        events = [dg.AssetMaterialization(thing.key, partition=f"P{i}") for i in range(24)]
        list(pool.map(instance.report_runless_asset_event, events))
        assert len(instance.get_materialized_partitions(thing.key)) == 24


def test_wiping_the_log_leaves_it_usable(tmp_path):
    with _instance(tmp_path / "home", OpenSqliteStorage) as instance:
        _materialize(instance, "A")
        instance.event_log_storage.wipe()
        assert instance.get_materialized_partitions(thing.key) == set()
        _materialize(instance, "B")
        assert instance.get_materialized_partitions(thing.key) == {"B"}


def test_a_closed_instance_holds_no_database_open(tmp_path):
    home = tmp_path / "home"
    with _instance(home, OpenSqliteStorage) as instance:
        _materialize(instance, "A")
    assert list(home.rglob("*.db-wal")) == []
