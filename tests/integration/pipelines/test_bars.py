"""From the source to the quality report, on the sample data, through the production graph."""

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field

import dagster as dg
import pytest

from pipelines.keys import SYMBOL_ASSETS
from pipelines.runs import Outcome, materialize_symbols
from warehouse.errors import SourceError
from warehouse.resolution import Resolution
from warehouse.sources.sample import SampleSource

pytestmark = pytest.mark.integration

FIVE = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]


def update(project, symbols=FIVE, selection=SYMBOL_ASSETS, **options):
    return materialize_symbols(project.instance, selection, symbols, "1d", defs=project.defs, **options)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@dataclass
class Substitute:
    """Stands for the source resource; the given symbols fail as a vendor that cannot be reached."""

    broken: set[str] = field(default_factory=set)
    history_start: str = "1990-01-01"
    overlap_sessions: int = 5
    name: str = "sample"
    asked: list[str] = field(default_factory=list)

    @contextmanager
    def opened(self, calendar):
        yield self

    def on_page(self, page):
        pass

    def stop(self):
        pass

    def symbols(self):
        return FIVE

    def fetch(self, request):
        self.asked.append(request.symbol)
        if request.symbol in self.broken:
            raise SourceError(f"{request.symbol}: the vendor does not answer.")
        return SampleSource().fetch(request)


def test_the_sample_goes_all_the_way_in_one_run(project):
    outcome = update(project)
    assert (outcome.success, outcome.failures, len(outcome.run_ids)) == (True, {}, 1)
    rows = {step.name: step.facts["rows"] for step in outcome.progress if step.asset == "clean_bars"}
    assert rows == {"AAPL": 3270, "FB": 196, "GOOG": 2148, "IBM": 3270, "MSFT": 3270}
    assert [step.asset for step in outcome.progress[::5]] == list(SYMBOL_ASSETS)


def test_a_second_run_finds_nothing_to_do_and_changes_no_byte(project):
    update(project)
    before = contents(project.settings.data_dir)
    outcome = update(project)
    assert {step.outcome for step in outcome.progress} == {Outcome.UNCHANGED}
    assert contents(project.settings.data_dir) == before


def test_each_symbol_has_its_own_row_count_range_plot_and_content_version(project):
    update(project, ["AAPL", "FB"])
    aapl, fb = (project.latest("clean_bars", symbol) for symbol in ("AAPL", "FB"))
    assert aapl.metadata["dagster/partition_row_count"].value == 3270
    assert aapl.metadata["first_bar"].value == "2000-03-01 21:00 UTC"
    assert fb.metadata["first_bar"].value == "2012-05-18 20:00 UTC"
    assert aapl.metadata["close"].value.startswith("![AAPL adjusted close](data:image/png;base64,")
    assert aapl.tags["dagster/data_version"] == project.store.data_version("AAPL", Resolution.DAILY)
    assert aapl.tags["dagster/data_version"] != fb.tags["dagster/data_version"]


@pytest.mark.parametrize(
    "lose",
    [
        shutil.rmtree,
        lambda folder: [path.unlink() for path in folder.rglob("*.parquet")],
        lambda folder: [path.write_bytes(b"half") for path in folder.rglob("*.parquet")],
    ],
    ids=["folder deleted", "files deleted", "files damaged"],
)
def test_a_lost_output_is_made_again_although_nothing_upstream_changed(project, lose):
    update(project, ["FB"])
    version = project.store.data_version("FB", Resolution.DAILY)
    lose(project.settings.data_dir / "clean")
    outcome = update(project, ["FB"])
    made = {step.asset: step.outcome for step in outcome.progress}
    assert made["clean_bars"] is Outcome.DONE
    assert project.store.data_version("FB", Resolution.DAILY) == version


def test_one_symbol_of_five_that_fails_loses_no_other(project):
    project.resources["source"] = Substitute(broken={"GOOG"})
    project.rebuild()
    outcome = update(project)
    assert not outcome.success
    assert outcome.failures == {"GOOG": "GOOG: the vendor does not answer."}
    judged = [step.name for step in outcome.progress if step.asset == "quality_report" and step.error is None]
    assert judged == ["AAPL", "FB", "IBM", "MSFT"]
    status = project.instance.get_run_by_id(outcome.run_ids[0]).status
    assert status is dg.DagsterRunStatus.FAILURE


def test_the_failed_symbol_alone_is_mended_by_the_next_run(project):
    project.resources["source"] = source = Substitute(broken={"GOOG"})
    project.rebuild()
    update(project)
    source.broken.clear()
    outcome = update(project)
    assert outcome.success
    changed = {step.name for step in outcome.progress if step.outcome is Outcome.DONE}
    assert changed == {"GOOG"}


def test_a_symbol_nobody_knows_does_not_stay_as_a_partition(project):
    outcome = update(project, ["AAPL", "APPL"])
    assert set(outcome.failures) == {"APPL"}
    assert list(project.instance.get_dynamic_partitions("symbols")) == ["AAPL"]


def test_a_selection_with_holes_runs_once_for_each_block_and_touches_nothing_between(project):
    update(project, selection=["raw_bars"])
    outcome = update(project, ["AAPL", "FB", "MSFT"], ["raw_bars"])
    assert len(outcome.run_ids) == 2
    assert [step.name for step in outcome.progress] == ["AAPL", "FB", "MSFT"]


def test_a_range_backfill_by_tags_is_one_run(project):
    project.instance.add_dynamic_partitions("symbols", FIVE)
    tags = {"dagster/asset_partition_range_start": "FB", "dagster/asset_partition_range_end": "IBM"}
    job = project.defs.get_repository_def().get_job("update_daily")
    result = job.execute_in_process(instance=project.instance, tags=tags)
    reported = [event.partition for event in result.all_events if event.is_step_materialization]
    assert reported == ["FB", "GOOG", "IBM"] * 4


def test_the_range_of_dates_can_be_chosen(project):
    config = {"raw_bars": {"start": "2012-01-03", "end": "2012-12-31"}}
    outcome = update(project, ["AAPL"], run_config=config)
    facts = next(step.facts for step in outcome.progress if step.asset == "clean_bars")
    assert (facts["first_bar"], facts["last_bar"]) == ("2012-01-03 21:00 UTC", "2012-12-31 21:00 UTC")


def test_only_what_is_missing_and_the_overlap_is_asked_for(project):
    project.resources["source"] = source = Substitute()
    project.rebuild()
    update(project, ["AAPL"])
    source.asked.clear()
    update(project, ["AAPL"])
    assert source.asked == []


def test_a_quality_error_fails_the_run_and_names_symbol_and_rule(project):
    update(project, ["FB", "IBM"])
    lost = project.settings.data_dir / "clean" / "resolution=1d" / "symbol=FB"
    shutil.rmtree(lost)
    outcome = update(project, ["FB", "IBM"], ["quality_report"])
    assert not outcome.success
    assert list(outcome.failures) == ["FB"]
    assert "no_data" in outcome.failures["FB"]


def test_judging_a_symbol_without_any_bars_leaves_nothing_behind(project):
    outcome = update(project, ["APPL"], ["quality_report"])
    assert outcome.failures == {"APPL": "APPL: the warehouse has no 1d bars to judge."}
    assert list(project.instance.get_dynamic_partitions("symbols")) == []
    assert not (project.settings.data_dir / "quality").exists()


def test_facts_speak_plainly(project):
    outcome = update(project, ["AAPL"])
    facts = {step.asset: step.facts for step in outcome.progress}
    assert facts["raw_bars"]["rows_added"] == 3270
    assert (facts["corporate_actions"]["splits"], facts["corporate_actions"]["rows"]) == (2, 5)
    assert facts["quality_report"]["errors"] == ""


def test_progress_is_told_as_it_happens(project):
    seen = []
    outcome = update(project, ["AAPL", "FB"], on_progress=seen.append)
    assert tuple(seen) == outcome.progress
    assert len(seen) == 8
