"""`barloom download`, `quality` and `sql`.

Belongs here: bars, reports and queries from the terminal. Does not belong here: fetching, cleaning, judging.
"""

import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from pipelines.cli.runs import dates_config, download_bars, progress_bar, report_failures, unique
from pipelines.cli.tables import print_arrow, print_csv, print_json, print_rows, say
from pipelines.settings import Settings, load_settings, with_source
from warehouse.errors import InvalidRequestError

if TYPE_CHECKING:
    from warehouse.quality import QualityReport
    from warehouse.resolution import Resolution

Symbols = Annotated[list[str], Parameter(consume_multiple=True, negative_iterable="")]


def download(
    *,
    symbols: Symbols,
    start: date | None = None,
    end: date | None = None,
    resolution: str = "Daily",
    source: Literal["sample", "files", "lean", "ib"] | None = None,
) -> int:
    """Fetch what the warehouse lacks, clean it and judge its quality.

    What a download that was ended has fetched is kept; the same command goes on from there.

    Args:
        symbols: One or more symbols, for example `--symbols SPY AAPL`.
        start: First exchange date (YYYY-MM-DD); the setting `history_start` unless given.
        end: Last exchange date; the last closed session unless given.
        resolution: Daily, Hour or Minute.
        source: Where bars come from; the setting unless given. `ib` needs a gateway, see `barloom gateway`.
    """
    if start is not None and end is not None and end < start:
        raise InvalidRequestError(f"end: {end} lies before start {start}.")
    return bring_bars(unique(symbols), resolution, start, end, source=source)


def bring_bars(
    wanted: list[str],
    resolution: str = "Daily",
    start: date | None = None,
    end: date | None = None,
    *,
    source: str | None = None,
) -> int:
    """From the source to the quality report in one run, with a progress bar; prints what the warehouse then holds."""
    from pipelines.definitions import build_defs
    from pipelines.keys import SYMBOL_ASSETS
    from pipelines.resources import WatchedSource, default_resources
    from pipelines.runs import materialize_symbols, open_instance

    settings = load_settings() if source is None else with_source(load_settings(), source)
    length = _downloaded(resolution)
    if settings.source == "ib":
        _check_for_ib(settings, wanted)
    config = {"raw_bars": dates_config(start, end)}
    with (
        open_instance() as instance,
        download_bars(len(wanted), len(SYMBOL_ASSETS) * len(wanted)) as (move, pages),
    ):
        watched = WatchedSource(default_resources(settings)["source"], pages)
        defs = build_defs(settings, resource_overrides={"source": watched})
        outcome = materialize_symbols(
            instance, SYMBOL_ASSETS, wanted, length, run_config=config, on_progress=move, defs=defs
        )
    _print_holdings(wanted, length)
    return report_failures(outcome)


def _downloaded(text: str) -> "Resolution":
    """A resolution that is downloaded, not recorded."""
    from pipelines.prefixes import PREFIXES
    from warehouse.resolution import Resolution

    length = Resolution.parse(text)
    if length not in PREFIXES:
        raise InvalidRequestError(
            f"resolution: {length.value} bars are not downloaded, `barloom gateway record` makes them."
        )
    return length


def _check_for_ib(settings: Settings, symbols: list[str]) -> None:
    """What can be known to be wrong before anything is asked."""
    from broker.ib.contracts import parse_contract
    from pipelines.gateways import Purpose, session_settings

    session_settings(settings, Purpose.DOWNLOAD)
    for symbol in symbols:
        parse_contract(symbol)


def quality(
    *,
    symbols: Symbols,
    resolution: str = "Daily",
    report_format: Literal["table", "json", "html"] = "table",
    output: Path | None = None,
) -> int:
    """Judge the cleaned bars; exit code 1 when an ERROR stands.

    Args:
        symbols: One or more symbols that have been downloaded.
        resolution: Daily, Hour or Minute.
        report_format: A table, JSON, or an HTML page with a coverage calendar.
        output: File for the HTML page; `quality.html` in the results folder unless given.
    """
    from pipelines.runs import materialize_symbols, open_instance
    from warehouse.resolution import Resolution

    length, wanted = Resolution.parse(resolution), unique(symbols)
    with open_instance() as instance, progress_bar("quality", len(wanted)) as move:
        outcome = materialize_symbols(instance, ["quality_report"], wanted, length, on_progress=move)
    reports = _reports(wanted, length)
    _render(reports, report_format, output)
    standing = [f"{report.symbol}: {', '.join(report.errors)}" for report in reports if report.blocking]
    if standing:
        sys.stderr.write(f"quality ERROR: {'; '.join(standing)}\n")
        return 1
    return report_failures(outcome)


def sql(
    query: str,
    /,
    *,
    as_csv: Annotated[bool, Parameter(name="--csv", negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Ask the warehouse a question in SQL, read-only.

    Views: `bars`, `bars_unadjusted`, `raw_bars`, `corporate_actions`, `quarantine`, `revisions`, `quality`,
    `quality_findings`, `backtests`, `equity`, `orders`, `fills`, `trades`, `studies`, `trials`; of live trading
    `live_deployments`, `live_sessions`, `live_intents`, `live_orders`, `live_fills`, `live_positions`, `live_cash`,
    `live_equity`, `live_risk_events`, `live_commands`, `live_alarms`, `live_heartbeats`.

    Args:
        query: One SELECT (or WITH, DESCRIBE, SHOW, EXPLAIN) statement.
        as_csv: Print CSV.
        as_json: Print JSON, a list of rows.
    """
    from warehouse.catalog import Catalog

    settings = load_settings()
    catalog = Catalog(settings.data_dir, settings.results_dir, settings.ledger)
    table = catalog.query(query)
    publish_catalog(settings)
    if as_csv:
        print_csv(table)
    elif as_json:
        print_json(table.to_pylist())
    else:
        print_arrow(table)
        say(f"{table.num_rows} row{'' if table.num_rows == 1 else 's'}")
    return 0


def publish_catalog(settings: Settings) -> None:
    """Write `data/catalog.duckdb`, the views for other DuckDB clients."""
    from warehouse.catalog import Catalog

    Catalog(settings.data_dir, settings.results_dir).publish()


def _print_holdings(symbols: list[str], resolution: str) -> None:
    from warehouse.catalog import Catalog

    settings = load_settings()
    names = ", ".join("'" + symbol.replace("'", "''") + "'" for symbol in symbols)
    publish_catalog(settings)
    print_arrow(
        Catalog(settings.data_dir, settings.results_dir).query(
            "SELECT symbol, count(*) AS bars, min(session) AS first, max(session) AS last FROM bars "  # noqa: S608
            f"WHERE resolution = '{resolution}' AND symbol IN ({names}) GROUP BY symbol ORDER BY symbol"
        )
    )


def _reports(symbols: list[str], resolution: str) -> list["QualityReport"]:
    from warehouse.quality import read_report
    from warehouse.resolution import Resolution
    from warehouse.store import Warehouse

    warehouse = Warehouse(load_settings().data_dir)
    found = (read_report(warehouse, symbol, Resolution(resolution)) for symbol in symbols)
    return [report for report in found if report is not None]


def _render(reports: list["QualityReport"], report_format: str, output: Path | None) -> None:
    from warehouse.calendar import get_calendar
    from warehouse.quality import render_html, render_json

    if report_format == "json":
        sys.stdout.write(render_json(reports) + "\n")
    elif report_format == "html":
        settings = load_settings()
        path = output or settings.results_dir / "quality.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render_html(reports, get_calendar(settings.calendar)), encoding="utf-8")
        say(f"wrote {path}")
    else:
        _print_checks(reports)


def _print_checks(reports: list["QualityReport"]) -> None:
    rows = []
    for report in reports:
        for check in report.checks.to_pylist():
            state = "not computed" if check["passed"] is None else "ok" if check["passed"] else check["severity"]
            if state != "ok" and (state != "not computed" or "no_data" not in report.errors):
                rows.append((report.symbol, check["rule"], state, check["offending"], check["message"]))
    if rows:
        print_rows(["symbol", "rule", "result", "rows", "what"], rows)
    for report in reports:
        score = "unknown" if report.score is None else f"{report.score:.4f}"
        checks = report.checks.num_rows
        say(f"{report.symbol}: {checks} rules, {len(report.errors)} ERROR, quality score {score}")
