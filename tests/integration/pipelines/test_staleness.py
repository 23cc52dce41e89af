"""What Dagster calls out of date is what really is."""

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from pipelines.keys import SYMBOL_ASSETS
from pipelines.runs import materialize_experiments, materialize_symbols

pytestmark = pytest.mark.integration


def stale(project) -> set[tuple[str, str]]:
    """(asset, partition) of everything daily that exists and is out of date."""
    graph = project.defs.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(project.instance, graph, LoadingContextForTest(project.instance))
    places = [(name, key) for name in SYMBOL_ASSETS for key in project.instance.get_dynamic_partitions("symbols")]
    places += [("backtest_results", key) for key in project.instance.get_dynamic_partitions("experiments")]
    return {(n, k) for n, k in places if resolver.get_status(dg.AssetKey(n), k).value == "STALE"}


@pytest.fixture
def desk(project):
    """Bars of two symbols up to 2012, and one backtest of FB."""
    project.settings.experiments_dir.mkdir()
    document = {
        "strategy": "strategies.sma_crossover.SMACrossover", "params": {"sma_short": 5, "sma_long": 20},
        "symbols": ["FB"], "start": "2012-05-18", "end": "2012-12-31",
    }  # fmt: skip
    (project.settings.experiments_dir / "quick.yaml").write_text(yaml.safe_dump(document))
    until = {"raw_bars": {"start": "2011-01-03", "end": "2012-12-31"}}
    assert materialize_symbols(
        project.instance, SYMBOL_ASSETS, ["FB", "IBM"], run_config=until, defs=project.defs
    ).success
    outcome = materialize_experiments(project.instance, ["quick"], config={"tearsheet": False}, defs=project.defs)
    assert outcome.success
    return project


def test_everything_is_fresh_after_its_run(desk):
    assert stale(desk) == set()


def test_an_update_without_news_leaves_everything_fresh(desk):
    until = {"raw_bars": {"start": "2011-01-03", "end": "2012-12-31"}}
    materialize_symbols(desk.instance, ["raw_bars"], ["FB", "IBM"], run_config=until, defs=desk.defs)
    assert stale(desk) == set()


def test_new_raw_bars_of_one_symbol_make_what_is_derived_from_it_stale_and_nothing_else(desk):
    materialize_symbols(desk.instance, ["raw_bars"], ["IBM"], defs=desk.defs)
    bars = {(name, key) for name, key in stale(desk) if name != "backtest_results"}
    assert bars == {("corporate_actions", "IBM"), ("clean_bars", "IBM")}


def test_new_clean_bars_make_backtests_stale_until_somebody_looks(desk):
    materialize_symbols(desk.instance, SYMBOL_ASSETS, ["IBM"], defs=desk.defs)
    assert stale(desk) == {("backtest_results", "quick")}
    materialize_experiments(desk.instance, ["quick"], config={"tearsheet": False}, defs=desk.defs)
    assert stale(desk) == set()
