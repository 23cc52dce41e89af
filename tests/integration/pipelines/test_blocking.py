"""A quality ERROR stops what would follow in the same run; a warning does not."""

import dagster as dg
import pytest

from pipelines.keys import SYMBOL_ASSETS
from pipelines.partitions import symbol_partitions
from pipelines.resources import CalendarResource
from pipelines.runs import materialize_symbols

pytestmark = pytest.mark.integration


@dg.asset(deps=["quality_report"], partitions_def=symbol_partitions, backfill_policy=dg.BackfillPolicy.single_run())
def user_of_bars(context):
    """Something of a user's own that reads bars, behind the reports."""
    context.log.info("used")


def run(project, severity):
    """The whole way for one symbol and then the user's asset; the sample's end counts with the given severity."""
    rules = project.folder / "rules.yaml"
    rules.write_text(f"series_ended: {{severity: {severity}, threshold: 0}}\n")
    desk = type(project)(project.folder, project.instance, quality_file=rules)
    desk.resources["calendar"] = CalendarResource()  # today, years after the sample's last bar
    desk.rebuild()
    desk.instance.add_dynamic_partitions("symbols", ["FB"])
    graph = dg.Definitions.merge(desk.defs, dg.Definitions(assets=[user_of_bars]))
    keys = [dg.AssetKey(name) for name in (*SYMBOL_ASSETS, "user_of_bars")]
    job = graph.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=desk.instance, asset_selection=keys, partition_key="FB", raise_on_error=False
    )


def made(result):
    return [event.asset_key.to_user_string() for event in result.all_events if event.is_step_materialization]


def test_an_error_stops_what_follows_but_its_report_is_there_to_read(project):
    result = run(project, "ERROR")
    assert not result.success
    assert made(result) == list(SYMBOL_ASSETS)
    (failure,) = result.get_step_failure_events()
    assert "series_ended" in failure.step_failure_data.error.message


def test_a_warning_stops_nothing(project):
    result = run(project, "WARN")
    assert result.success
    assert made(result) == [*SYMBOL_ASSETS, "user_of_bars"]
    failed = [check.check_name for check in result.get_asset_check_evaluations() if not check.passed]
    assert failed == ["series_ended"]


def test_each_rule_is_evaluated_once_a_run_whatever_the_number_of_symbols(project):
    outcome = materialize_symbols(project.instance, SYMBOL_ASSETS, ["FB", "GOOG", "IBM"], defs=project.defs)
    records = project.instance.all_logs(outcome.run_ids[0], of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    names = [record.dagster_event.asset_check_evaluation_data.check_name for record in records]
    assert len(names) == len(set(names)) > 15
