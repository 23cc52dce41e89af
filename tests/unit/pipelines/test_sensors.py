"""The universe and the experiments folder become partitions; a failed read never empties them."""

import dagster as dg
import pytest

from pipelines.errors import SettingsError
from pipelines.resources import default_resources
from pipelines.sensors import (
    any_run_in_flight,
    experiments,
    experiments_change,
    read_universe,
    studies_change,
    universe,
    universe_change,
)
from pipelines.settings import Settings


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def settings(tmp_path):
    return Settings(
        data_dir=tmp_path / "data",
        results_dir=tmp_path / "results",
        experiments_dir=tmp_path / "experiments",
        studies_dir=tmp_path / "studies",
        universe_file=tmp_path / "universe.txt",
    )


def change(instance, settings):
    made = default_resources(settings)
    return universe_change(instance, made["source"], made["warehouse"])


def test_a_universe_file_is_one_symbol_a_line_with_comments(tmp_path):
    path = tmp_path / "u.txt"
    path.write_text("# tech\nAAPL\n  BRK B   # Berkshire\n\n")
    assert read_universe(path) == ["AAPL", "BRK B"]


@pytest.mark.parametrize("text", [None, "", "# nothing\n"])
def test_a_universe_that_cannot_be_read_or_is_empty_is_an_error(tmp_path, text):
    path = tmp_path / "u.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match="BARLOOM_UNIVERSE_FILE"):
        read_universe(path)


def test_symbols_of_the_universe_are_added_encoded_and_sorted(instance, settings):
    settings.universe_file.write_text("MSFT\nBRK B\nAAPL\n")
    assert change(instance, settings).add == ("AAPL", "BRK%20B", "MSFT")


def test_a_symbol_that_left_the_universe_goes_unless_its_bars_are_on_disk(instance, settings):
    settings.universe_file.write_text("AAPL\n")
    instance.add_dynamic_partitions("symbols", ["AAPL", "HELD", "TYPO"])
    (settings.data_dir / "raw" / "1m" / "HELD").mkdir(parents=True)
    assert change(instance, settings).delete == ("TYPO",)


@pytest.mark.parametrize(
    "status",
    [
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.CANCELING,
    ],
)
def test_nothing_goes_while_a_run_is_in_flight(instance, settings, status):
    settings.universe_file.write_text("AAPL\n")
    instance.add_dynamic_partitions("symbols", ["AAPL", "TYPO"])
    instance.run_storage.add_run(dg.DagsterRun(job_name="update_daily", status=status))
    assert any_run_in_flight(instance)
    assert change(instance, settings).empty


@pytest.mark.parametrize(
    "status", [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
)
def test_a_run_that_has_ended_holds_nothing_back(instance, status):
    instance.run_storage.add_run(dg.DagsterRun(job_name="update_daily", status=status))
    assert not any_run_in_flight(instance)


def test_without_a_universe_file_the_symbols_of_the_source_count(instance, settings):
    made = default_resources(settings.model_copy(update={"universe_file": None}))
    found = universe_change(instance, made["source"], made["warehouse"])
    assert found.add == ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def test_experiment_files_and_recorded_experiments_become_partitions(instance, settings):
    for path in (settings.experiments_dir / "mine.yaml", settings.results_dir / "experiments" / "recorded.yaml"):
        path.parent.mkdir(parents=True)
        path.touch()
    instance.add_dynamic_partitions("experiments", ["gone", "mine"])
    found = experiments_change(instance, default_resources(settings)["research"])
    assert (found.add, found.delete) == (("recorded",), ("gone",))


def test_study_files_and_recorded_studies_become_partitions(instance, settings):
    for path in (settings.studies_dir / "mine.yaml", settings.results_dir / "recorded_studies" / "recorded.yaml"):
        path.parent.mkdir(parents=True)
        path.touch()
    instance.add_dynamic_partitions("studies", ["gone", "mine"])
    found = studies_change(instance, default_resources(settings)["research"])
    assert (found.add, found.delete) == (("recorded",), ("gone",))


def _tick(sensor, instance, settings):
    made = default_resources(settings)
    needed = {name: made[name] for name in sensor.required_resource_keys}
    with dg.build_sensor_context(instance=instance, resources=needed) as context:
        return sensor.evaluate_tick(context)


def test_the_universe_sensor_asks_for_the_change_and_then_rests(instance, settings):
    settings.universe_file.write_text("AAPL\n")
    instance.add_dynamic_partitions("symbols", ["TYPO"])
    asked = _tick(universe, instance, settings).dynamic_partitions_requests
    assert [type(request) for request in asked] == [dg.AddDynamicPartitionsRequest, dg.DeleteDynamicPartitionsRequest]
    assert [list(request.partition_keys) for request in asked] == [["AAPL"], ["TYPO"]]
    instance.add_dynamic_partitions("symbols", ["AAPL"])
    instance.delete_dynamic_partition("symbols", "TYPO")
    assert _tick(universe, instance, settings).skip_message == "The symbols are as they should be."


def test_the_experiments_sensor_rests_when_there_is_no_folder(instance, settings):
    assert _tick(experiments, instance, settings).skip_message == "The experiments are as they should be."
