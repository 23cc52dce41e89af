"""The assets of a symbol: raw bars, corporate actions, clean bars, quality report, at each resolution.

Belongs here: thin asset bodies (read, call the domain, report). Does not belong here: domain work, how a step
serves many partitions (see `fanout`), backtests (see `research_assets`), when things run.

Keys: daily assets have no prefix, `hourly/` and `minute/` have theirs. Corporate actions belong to a symbol, not to a
resolution, so there is one such asset.
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa
from pydantic import Field

from pipelines.automation import FOLLOW_CHANGED_BARS, FOLLOW_CHANGED_INPUTS
from pipelines.checks import check_results, quality_check_specs, rules_in_force, standing_errors
from pipelines.fanout import Done, Events, Recipe, fan_out
from pipelines.keys import COMPUTING, NO_VALUE, symbol_asset_key
from pipelines.metadata import column_schema, figures_table, records_table, sparkline
from pipelines.partitions import symbol_of, symbol_partitions
from pipelines.prefixes import PREFIXES
from pipelines.resources import CalendarResource, QualityResource, SourceResource, WarehouseResource
from pipelines.stamps import table_version, version_of
from warehouse.errors import CorruptFileError, NoDataError
from warehouse.resolution import Resolution
from warehouse.schema import ACTIONS_SCHEMA, CLEAN_SCHEMA, QUALITY_SCHEMA, RAW_SCHEMA

if TYPE_CHECKING:
    from warehouse.calendar import TradingCalendar
    from warehouse.quality import QualityReport, QualitySettings
    from warehouse.store import Warehouse

OWNERS = ["team:research"]
_CODE_VERSION = "1"

_NOT_STANDING = (NoDataError, CorruptFileError, FileNotFoundError)
"""A derived file in this state is made again from what it came from; raw bars have no such way back."""


class UpdateConfig(dg.Config):
    """Range of an update; the default is everything the store lacks."""

    start: str = Field(default="", description="First exchange date, YYYY-MM-DD; empty: the setting `history_start`.")
    end: str = Field(default="", description="Last exchange date, YYYY-MM-DD; empty: the last session that has closed.")


def symbol_assets(quality: "QualitySettings") -> list[dg.AssetsDefinition]:
    """All symbol assets of all resolutions; quality settings decide which checks exist and which of them block."""
    made = [_corporate_actions()]
    for resolution in PREFIXES:
        made += [_raw_bars(resolution), _clean_bars(resolution), _quality_report(resolution, quality)]
    return made


def _options(resolution: Resolution, name: str, schema: pa.Schema) -> dict[str, Any]:
    """What all symbol assets share."""
    return {
        "key": symbol_asset_key(name, resolution),
        "partitions_def": symbol_partitions,
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "dagster_type": NO_VALUE,
        "group_name": f"{resolution.name.lower()}_bars",
        "owners": OWNERS,
        "pool": COMPUTING,
        "kinds": {"parquet"},
        "tags": {"barloom/resolution": resolution.value},
        "code_version": _CODE_VERSION,
        "metadata": {"dagster/column_schema": column_schema(schema)},
    }


def _raw_bars(resolution: Resolution) -> dg.AssetsDefinition:
    name = resolution.name.lower()

    @dg.asset(
        **_options(resolution, "raw_bars", RAW_SCHEMA),
        description=f"Raw {name} batches, exactly as the vendor sent them, append-only. An update asks only for what "
        "the store lacks against the exchange calendar, and fetches a few sessions again as overlap.",
    )
    def raw_bars(
        context: dg.AssetExecutionContext,
        config: UpdateConfig,
        warehouse: dg.ResourceParam[WarehouseResource],
        source: dg.ResourceParam[SourceResource],
        calendar: dg.ResourceParam[CalendarResource],
    ) -> Events:
        from warehouse.ingest import update_raw

        store, sessions, now = warehouse.open(), calendar.open(), calendar.now()
        start = date.fromisoformat(config.start or source.history_start)
        end = date.fromisoformat(config.end) if config.end else sessions.last_closed_session(now)
        with source.opened(sessions) as vendor:

            def update(key: str) -> Done:
                symbol = symbol_of(key)
                done = update_raw(
                    store, vendor, symbol, resolution, start, end,
                    calendar=sessions, now=now, overlap_sessions=source.overlap_sessions, on_page=source.on_page,
                )  # fmt: skip
                asked = records_table([{"start": a, "end": b} for a, b in done.requested], ["start", "end"])
                facts = {"source": vendor.name, "rows_added": done.rows_added, "batches": len(done.batches)}
                return Done(
                    raw_version(store, symbol, resolution), {**facts, "asked_for": asked}, unchanged=not done.batches
                )

            yield from fan_out(context, update, workers=warehouse.workers, interrupted=vendor.stop)

    return raw_bars


def _corporate_actions() -> dg.AssetsDefinition:
    @dg.asset(
        **_options(Resolution.DAILY, "corporate_actions", ACTIONS_SCHEMA),
        deps=[symbol_asset_key("raw_bars", resolution) for resolution in PREFIXES],
        description="Splits and dividends of a symbol, from the vendor's factors and from overlaps whose prices differ "
        "by one constant ratio; never from the size of a move.",
        automation_condition=FOLLOW_CHANGED_INPUTS,
    )
    def corporate_actions(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[WarehouseResource],
        calendar: dg.ResourceParam[CalendarResource],
    ) -> Events:
        recipe = actions_recipe(warehouse.open(), calendar.open())
        work = recipe.work(warehouse.open().root, context.asset_key)
        yield from fan_out(context, work, workers=warehouse.workers)

    return corporate_actions


def _clean_bars(resolution: Resolution) -> dg.AssetsDefinition:
    name, source = resolution.name.lower(), next(iter(finer(resolution)), None)
    upstream = [symbol_asset_key("raw_bars", resolution), symbol_asset_key("corporate_actions", Resolution.DAILY)]
    if source:
        upstream.append(symbol_asset_key("clean_bars", source))

    @dg.asset(
        **_options(resolution, "clean_bars", CLEAN_SCHEMA),
        deps=upstream,
        description=f"Clean {name} bars: unique, ordered, stamped at their close in UTC, vendor prices on one scale "
        "with split and dividend factors beside them. Deterministic: the same raw bars give the same bytes."
        + (f" Rolled up from {source.name.lower()} bars where the source has none of this length." if source else ""),
        automation_condition=FOLLOW_CHANGED_BARS,
    )
    def clean_bars(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[WarehouseResource],
        calendar: dg.ResourceParam[CalendarResource],
    ) -> Events:
        recipe = clean_recipe(warehouse.open(), calendar.open(), resolution)
        work = recipe.work(warehouse.open().root, context.asset_key)
        yield from fan_out(context, work, workers=warehouse.workers)

    return clean_bars


def _quality_report(resolution: Resolution, settings: "QualitySettings") -> dg.AssetsDefinition:
    name = resolution.name.lower()
    rules = [rule for rule, _, _ in rules_in_force(settings, resolution)]

    @dg.asset(
        **_options(resolution, "quality_report", QUALITY_SCHEMA),
        deps=[symbol_asset_key("clean_bars", resolution)],
        check_specs=quality_check_specs(settings, resolution),
        description=f"What the quality rules say about a symbol's {name} bars, one row a rule, with the offending "
        "bars. An ERROR stops the backtests, studies and live sessions that would use them.",
        automation_condition=FOLLOW_CHANGED_INPUTS,
    )
    def quality_report(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[WarehouseResource],
        calendar: dg.ResourceParam[CalendarResource],
        quality: dg.ResourceParam[QualityResource],
    ) -> Events:
        from warehouse.quality import read_report

        store = warehouse.open()
        recipe = quality_recipe(store, calendar, quality.settings(), resolution)

        def checks(keys: Sequence[str]) -> list[dg.AssetCheckResult]:
            found = [read_report(store, symbol_of(key), resolution) for key in keys]
            everyone = context.instance.get_dynamic_partitions(symbol_partitions.name or "")
            results = check_results(rules, [report for report in found if report is not None], resolution)
            return [*results, standing_errors(store, everyone, resolution)]

        work = recipe.work(store.root, context.asset_key)
        yield from fan_out(context, work, workers=warehouse.workers, checks=checks)

    return quality_report


def raw_version(store: "Warehouse", symbol: str, resolution: Resolution) -> str:
    """Version of the raw batches of a symbol: batches are never edited, so their names say it all."""
    from warehouse.layout import raw_folder

    return version_of(sorted(path.stem for path in raw_folder(store.root, symbol, resolution).glob("*.parquet")))


def has_raw(store: "Warehouse", symbol: str, resolution: Resolution) -> bool:
    """True when a vendor has delivered bars of that length."""
    from warehouse.layout import raw_folder

    return any(raw_folder(store.root, symbol, resolution).glob("*.parquet"))


def clean_version(store: "Warehouse", symbol: str, resolution: Resolution) -> str | None:
    """Version of the clean bars; None when there are none, or none that can be read: they are made again then."""
    try:
        return store.data_version(symbol, resolution) or None
    except _NOT_STANDING:
        return None


def _readable(read: Callable[[], pa.Table]) -> str | None:
    """Version of a derived table, or None when its file is damaged."""
    try:
        return table_version(read())
    except _NOT_STANDING:
        return None


def actions_recipe(store: "Warehouse", calendar: "TradingCalendar") -> Recipe:
    """How the corporate actions of a symbol are derived."""
    from warehouse.actions import rebuild_actions
    from warehouse.layout import actions_file

    def inputs(key: str) -> dict[dg.AssetKey, str]:
        return {symbol_asset_key("raw_bars", r): raw_version(store, symbol_of(key), r) for r in PREFIXES}

    def standing(key: str) -> str | None:
        symbol = symbol_of(key)
        return _readable(lambda: store.read_actions(symbol)) if actions_file(store.root, symbol).exists() else None

    def make(key: str) -> str:
        rebuild_actions(store, symbol_of(key), calendar)
        return table_version(store.read_actions(symbol_of(key)))

    def describe(key: str) -> dict[str, Any]:
        actions = store.read_actions(symbol_of(key)).to_pylist()
        shown = records_table(actions[-20:], ["ex_date", "kind", "ratio", "evidence", "source"])
        splits = sum(action["kind"] == "split" for action in actions)
        counts = {"dagster/partition_row_count": len(actions), "splits": splits, "dividends": len(actions) - splits}
        return {**counts, "latest": shown}

    return Recipe(inputs, f"{_CODE_VERSION} {calendar.name}", standing, make, describe)


def clean_recipe(store: "Warehouse", calendar: "TradingCalendar", resolution: Resolution) -> Recipe:
    """How the clean bars of a symbol are made: from raw bars of their length, else from finer clean bars."""
    from warehouse.cleaning import rebuild_clean

    def inputs(key: str) -> dict[dg.AssetKey, str]:
        symbol = symbol_of(key)
        versions = {
            symbol_asset_key("raw_bars", resolution): raw_version(store, symbol, resolution),
            symbol_asset_key("corporate_actions", Resolution.DAILY): table_version(store.read_actions(symbol)),
        }
        if not has_raw(store, symbol, resolution):
            versions |= {
                symbol_asset_key("clean_bars", r): clean_version(store, symbol, r) or "" for r in finer(resolution)
            }
        return versions

    def make(key: str) -> str:
        symbol = symbol_of(key)
        if has_raw(store, symbol, resolution):
            return rebuild_clean(store, symbol, resolution, calendar).version
        return roll_up_clean(store, symbol, resolution, calendar)

    def describe(key: str) -> dict[str, Any]:
        return bars_facts(store, symbol_of(key), resolution)

    def standing(key: str) -> str | None:
        return clean_version(store, symbol_of(key), resolution)

    return Recipe(inputs, f"{_CODE_VERSION} {calendar.name}", standing, make, describe)


def roll_up_clean(store: "Warehouse", symbol: str, resolution: Resolution, calendar: "TradingCalendar") -> str:
    """Derive clean bars from finer ones and keep them; returns their version.

    Raises:
        NoDataError: there are no finer bars either.
    """
    from warehouse.rollup import roll_up

    held = [r for r in finer(resolution) if clean_version(store, symbol, r)]
    if not held:
        raise NoDataError(f"{symbol}: no raw {resolution.value} bars, and no finer bars to derive them from.")
    store.write_clean(symbol, resolution, roll_up(store.read_clean(symbol, held[0]), resolution, calendar))
    return store.data_version(symbol, resolution)


def finer(resolution: Resolution) -> list[Resolution]:
    """Resolutions that one can be rolled up from, the nearest first.

    >>> finer(Resolution.DAILY)
    [<Resolution.HOURLY: '1h'>, <Resolution.MINUTE: '1m'>]
    """
    order = list(PREFIXES)
    return order[order.index(resolution) + 1 :]


def bars_facts(store: "Warehouse", symbol: str, resolution: Resolution) -> dict[str, Any]:
    """Row count, first and last bar, a plot of the adjusted close, and where the files are."""
    from warehouse.layout import clean_folder

    bars = store.read_clean(symbol, resolution)
    quarantined = store.read_quarantine(symbol, resolution).num_rows
    folder = dg.MetadataValue.path(str(clean_folder(store.root, symbol, resolution).resolve()))
    facts = {"dagster/partition_row_count": bars.num_rows, "quarantined": quarantined, "folder": folder}
    if not bars.num_rows:
        return facts
    adjusted = bars["close"].to_numpy() * bars["split_factor"].to_numpy() * bars["dividend_factor"].to_numpy()
    first, last = bars["ts"][0].as_py(), bars["ts"][-1].as_py()
    plot = sparkline(adjusted, label=f"{symbol} adjusted close")
    return {
        **facts,
        "first_bar": f"{first:%Y-%m-%d %H:%M} UTC",
        "last_bar": f"{last:%Y-%m-%d %H:%M} UTC",
        "close": plot,
    }


def quality_recipe(
    store: "Warehouse", calendar: CalendarResource, settings: "QualitySettings", resolution: Resolution
) -> Recipe:
    """How a symbol's quality report is made; judged again when bars, settings or the day have changed."""
    from warehouse.quality import inspect, read_report, write_report

    sessions, today = calendar.open(), calendar.today()
    conditions = f"{_CODE_VERSION} {sessions.name} {today} {version_of([settings.model_dump_json()])}"

    def inputs(key: str) -> dict[dg.AssetKey, str]:
        return {symbol_asset_key("clean_bars", resolution): clean_version(store, symbol_of(key), resolution) or ""}

    def standing(key: str) -> str | None:
        try:
            report = read_report(store, symbol_of(key), resolution)
        except _NOT_STANDING:
            return None
        return table_version(report.checks) if report else None

    def make(key: str) -> str:
        symbol = symbol_of(key)
        if clean_version(store, symbol, resolution) is None and not has_raw(store, symbol, resolution):
            raise NoDataError(f"{symbol}: the warehouse has no {resolution.value} bars to judge.")
        report = inspect(store, symbol, resolution, sessions, settings=settings, today=today)
        write_report(store, report)
        return table_version(report.checks)

    def describe(key: str) -> dict[str, Any]:
        report = read_report(store, symbol_of(key), resolution)
        return report_facts(report) if report else {}

    return Recipe(inputs, conditions, standing, make, describe)


def report_facts(report: "QualityReport") -> dict[str, Any]:
    """Score, standing errors and warnings, and the rules that failed."""
    checks = report.checks.to_pylist()
    failed = [row for row in checks if row["passed"] is False]
    shown = ["rule", "severity", "measured", "threshold", "offending", "message"]
    known = {"score": report.score} if report.score is not None else {}
    return {
        **known,
        "errors": ", ".join(report.errors),
        "rules": len(checks),
        "failed": records_table(failed, shown),
        "coverage": figures_table({str(year.year): f"{year.found}/{year.expected}" for year in report.coverage}),
    }
