"""The graph as it is meant to be: a changed name is a decision, not an accident."""

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_spec import AssetCheckKey

from pipelines.definitions import build_defs
from pipelines.resources import WarehouseResource
from pipelines.settings import Settings
from warehouse.quality import RULES, Severity


@pytest.fixture(scope="module")
def defs():
    return build_defs(Settings())


@pytest.fixture(scope="module")
def repository(defs):
    return defs.get_repository_def()


@pytest.fixture(scope="module")
def graph(defs):
    return defs.resolve_asset_graph()


def names(keys):
    return sorted(key.to_user_string() for key in keys)


def test_the_definitions_load(defs):
    dg.Definitions.validate_loadable(defs)


def test_the_assets(graph):
    assert names(graph.get_all_asset_keys()) == [
        "backtest_results",
        "clean_bars",
        "corporate_actions",
        "hourly/clean_bars",
        "hourly/quality_report",
        "hourly/raw_bars",
        "leaderboard",
        "minute/clean_bars",
        "minute/quality_report",
        "minute/raw_bars",
        "optimization_studies",
        "quality_report",
        "raw_bars",
        "walk_forward",
    ]


def test_the_lineage(graph):
    parents = {key.to_user_string(): names(graph.get(key).parent_keys) for key in graph.get_all_asset_keys()}
    assert parents == {
        "raw_bars": [],
        "hourly/raw_bars": [],
        "minute/raw_bars": [],
        "corporate_actions": ["hourly/raw_bars", "minute/raw_bars", "raw_bars"],
        "minute/clean_bars": ["corporate_actions", "minute/raw_bars"],
        "hourly/clean_bars": ["corporate_actions", "hourly/raw_bars", "minute/clean_bars"],
        "clean_bars": ["corporate_actions", "hourly/clean_bars", "raw_bars"],
        "quality_report": ["clean_bars"],
        "hourly/quality_report": ["hourly/clean_bars"],
        "minute/quality_report": ["minute/clean_bars"],
        "backtest_results": [
            "clean_bars",
            "hourly/clean_bars",
            "hourly/quality_report",
            "minute/clean_bars",
            "minute/quality_report",
            "quality_report",
        ],
        "optimization_studies": [
            "clean_bars",
            "hourly/clean_bars",
            "hourly/quality_report",
            "minute/clean_bars",
            "minute/quality_report",
            "quality_report",
        ],
        "walk_forward": ["optimization_studies"],
        "leaderboard": ["backtest_results", "optimization_studies"],
    }


def test_the_jobs(repository):
    assert sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")) == [
        "check_lookahead",
        "rank",
        "reproduce",
        "run_backtests",
        "run_studies",
        "update_daily",
        "update_hourly",
        "update_minute",
        "verify_engine",
        "walk_studies_forward",
    ]


def test_the_schedules_and_their_jobs(repository):
    assert sorted((s.name, s.job_name) for s in repository.schedule_defs) == [
        ("daily_after_close", "update_daily"),
        ("daily_repair", "update_daily"),
        ("hourly_after_close", "update_hourly"),
        ("hourly_repair", "update_hourly"),
        ("minute_after_close", "update_minute"),
        ("minute_repair", "update_minute"),
    ]


def test_the_sensors(repository):
    assert sorted(sensor.name for sensor in repository.sensor_defs) == [
        "bars_follow",
        "experiments",
        "research_follows",
        "studies",
        "universe",
    ]


def test_the_resources(repository):
    assert sorted(repository.get_top_level_resources()) == ["calendar", "quality", "research", "source", "warehouse"]


def test_every_quality_rule_is_a_check_where_it_applies(graph):
    found = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    daily = {("quality_report", rule.id) for rule in RULES if not rule.intraday_only}
    intraday = {(f"{prefix}/quality_report", rule.id) for rule in RULES for prefix in ("hourly", "minute")}
    standing = {
        (asset, "standing_errors") for asset in ("quality_report", "hourly/quality_report", "minute/quality_report")
    }
    assert found == daily | intraday | standing


def test_exactly_the_checks_of_error_rules_block(graph):
    blocking = {key.name for key in graph.asset_check_keys if graph.get(key).blocking}
    assert blocking == {rule.id for rule in RULES if rule.severity is Severity.ERROR}


def test_a_severity_from_the_quality_file_decides_what_blocks_and_what_is_asked(tmp_path):
    (tmp_path / "q.yaml").write_text("zero_volume: {severity: ERROR}\nflat_run: {enabled: false}\n")
    graph = build_defs(Settings(quality_file=tmp_path / "q.yaml")).resolve_asset_graph()
    report = dg.AssetKey("quality_report")
    assert graph.get(AssetCheckKey(report, "zero_volume")).blocking
    assert AssetCheckKey(report, "flat_run") not in graph.asset_check_keys


def test_every_asset_says_what_it_is_who_owns_it_and_what_it_is_made_of(graph):
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        assert node.group_name != "default", key
        assert node.code_version, key


def test_symbol_assets_run_a_range_in_one_run_and_show_their_columns(graph):
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        if key.path[-1] != "leaderboard":
            assert node.backfill_policy == dg.BackfillPolicy.single_run(), key
        if key.path[-1] in {"raw_bars", "clean_bars", "corporate_actions", "quality_report"}:
            assert node.metadata["dagster/column_schema"].columns, key


def test_jobs_run_in_one_process(defs):
    assert defs.get_repository_def().get_job("update_daily").executor_def is dg.in_process_executor


@pytest.mark.parametrize(("job", "op"), [("run_backtests", "backtest_results"), ("update_daily", "raw_bars")])
def test_every_option_in_the_launchpad_has_a_default_and_a_description(repository, job, op):
    fields = repository.get_job(job).get_node_named(op).definition.config_field.config_type.fields
    assert fields
    for name, field in fields.items():
        assert field.default_provided, name
        assert field.description, name


def test_a_program_can_swap_a_resource(tmp_path):
    other = WarehouseResource(data_dir=str(tmp_path / "elsewhere"))
    resources = build_defs(Settings(), resource_overrides={"warehouse": other}).resources
    assert resources["warehouse"] is other
    assert resources["source"].kind == "sample"


def test_an_unknown_setting_stops_the_definitions_from_loading(monkeypatch):
    monkeypatch.setenv("BARLOOM_CALENDER", "XLON")
    with pytest.raises(Exception, match="Did you mean BARLOOM_CALENDAR"):
        build_defs()
