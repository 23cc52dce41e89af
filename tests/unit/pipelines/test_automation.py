"""Derived assets follow their inputs when content changed, once, and nobody else does."""

import dagster as dg
import pytest

from pipelines.definitions import build_defs
from pipelines.settings import Settings

SYMBOLS, EXPERIMENTS = ["AAPL", "MSFT"], ["sma_aapl", "sma_portfolio"]


@pytest.fixture(scope="module")
def defs():
    return build_defs(Settings())


@pytest.fixture
def desk(defs):
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("symbols", SYMBOLS)
        instance.add_dynamic_partitions("experiments", EXPERIMENTS)
        yield Desk(defs, instance)


class Desk:
    """An instance, and what the automation asks for each time somebody looks."""

    def __init__(self, defs, instance):
        self.defs, self.instance, self.cursor = defs, instance, None
        self.look()

    def materialised(self, key, partition=None, version="1"):
        tags = {"dagster/data_version": version, "dagster/data_version_is_user_provided": "true"}
        event = dg.AssetMaterialization(key.split("/"), partition=partition, tags=tags)
        self.instance.report_runless_asset_event(event)

    def look(self):
        result = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        keys = [answer.key for answer in result.results if result.get_num_requested(answer.key)]
        partitions = {key: result.get_requested_partitions(key) for key in keys}
        return {key.to_user_string(): sorted(found, key=str) if found else [None] for key, found in partitions.items()}


def test_nothing_is_asked_for_when_nothing_happened(desk):
    assert desk.look() == {}


def test_changed_raw_bars_ask_for_all_that_is_derived_from_that_symbol(desk):
    desk.materialised("raw_bars", "AAPL")
    assert desk.look() == {"corporate_actions": ["AAPL"], "clean_bars": ["AAPL"]}


def test_asking_is_done_once(desk):
    desk.materialised("raw_bars", "AAPL")
    desk.look()
    assert desk.look() == {}


def test_an_update_that_brought_nothing_new_asks_for_nothing(desk):
    desk.materialised("raw_bars", "AAPL", "1")
    desk.look()
    desk.materialised("raw_bars", "AAPL", "1")
    assert desk.look() == {}
    desk.materialised("raw_bars", "AAPL", "2")
    assert desk.look() == {"corporate_actions": ["AAPL"], "clean_bars": ["AAPL"]}


def test_what_was_made_in_the_same_run_is_not_asked_for_again(desk):
    for name in ("raw_bars", "corporate_actions", "clean_bars", "quality_report"):
        desk.materialised(name, "MSFT")
    assert not {"raw_bars", "corporate_actions", "clean_bars", "quality_report"} & set(desk.look())


def test_clean_bars_ask_for_their_report_and_for_backtests(desk):
    desk.materialised("clean_bars", "AAPL")
    asked = desk.look()
    assert asked == {"quality_report": ["AAPL"], "backtest_results": EXPERIMENTS}


def test_minute_bars_ask_for_the_hours_made_of_them(desk):
    desk.materialised("minute/clean_bars", "AAPL")
    asked = desk.look()
    assert asked["hourly/clean_bars"] == ["AAPL"]
    assert asked["minute/quality_report"] == ["AAPL"]
    assert "clean_bars" not in asked


def test_an_action_asks_only_for_bars_that_exist(desk):
    desk.materialised("minute/clean_bars", "AAPL")
    desk.look()
    desk.materialised("corporate_actions", "AAPL")
    desk.materialised("corporate_actions", "MSFT")
    asked = desk.look()
    assert asked == {"minute/clean_bars": ["AAPL"]}


def test_hourly_bars_ask_for_the_days_made_of_them(desk):
    desk.materialised("hourly/clean_bars", "MSFT")
    assert desk.look()["clean_bars"] == ["MSFT"]


def test_one_backtest_is_enough_for_the_leaderboard(desk):
    desk.materialised("backtest_results", "sma_aapl")
    assert desk.look() == {"leaderboard": [None]}
    assert desk.look() == {}


def test_raw_bars_wait_for_their_schedule(defs):
    graph = defs.resolve_asset_graph()
    raw = [key for key in graph.get_all_asset_keys() if key.path[-1] == "raw_bars"]
    assert len(raw) == 3
    assert all(graph.get(key).automation_condition is None for key in raw)


def test_bars_follow_by_themselves_and_backtests_only_when_turned_on(defs):
    repository = defs.get_repository_def()
    assert repository.get_sensor_def("bars_follow").default_status is dg.DefaultSensorStatus.RUNNING
    assert repository.get_sensor_def("research_follows").default_status is dg.DefaultSensorStatus.STOPPED


def test_every_automated_asset_belongs_to_exactly_one_sensor(defs):
    repository, graph = defs.get_repository_def(), defs.resolve_asset_graph()
    automated = {key for key in graph.get_all_asset_keys() if graph.get(key).automation_condition}
    families = [
        repository.get_sensor_def(name).asset_selection.resolve(graph) for name in ("bars_follow", "research_follows")
    ]
    assert families[0] & families[1] == set()
    assert automated <= families[0] | families[1]
