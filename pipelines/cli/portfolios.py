"""Portfolios of backtests as a terminal shows them.

Belongs here: what `barloom compare --portfolio` prints and writes. Does not belong here: weights and figures (see
`research.portfolio`).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipelines.cli.tables import print_rows, say
from pipelines.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from research.portfolio import PortfolioOptions
    from research.result import BacktestResult


def print_portfolio(results: Sequence["BacktestResult"], options: "PortfolioOptions", results_dir: "Path") -> None:
    """Weights, risk, correlation and combined figures, and where the page is."""
    from research.portfolio import build_portfolio, save_portfolio
    from research.portfolio.page import METHODS, WEIGHT_COLUMNS, correlation_rows, figure_table, weight_rows

    portfolio = build_portfolio(results, options)
    page = save_portfolio(portfolio, results_dir)
    print_rows(WEIGHT_COLUMNS, weight_rows(portfolio), title=f"Portfolio {portfolio.key}: {METHODS[options.method]}")
    labels = [part.label for part in portfolio.parts]
    print_rows(["correlation", *labels], correlation_rows(portfolio))
    print_rows(*figure_table(portfolio))
    for note in portfolio.notes:
        say(note)
    say(str(page))


def portfolio_options(method: str | None, choices: Mapping[str, object]) -> "PortfolioOptions | None":
    """What was chosen; None without a portfolio. A choice of None means the default.

    Raises:
        SettingsError: something was chosen for a portfolio that was not asked for.
        PortfolioError: a value is refused.
    """
    given = {name: value for name, value in choices.items() if value is not None}
    if method is None:
        if given:
            raise SettingsError(f"compare: {', '.join(given)} has no effect without --portfolio.")
        return None
    from research.portfolio import PortfolioOptions

    return PortfolioOptions.of(method=method, **given)


def shortlisted(results_dir: "Path", options: "PortfolioOptions | None", named: Sequence[str]) -> list[str]:
    """Ids of the best backtests of the kept leaderboard's shortlist, as many as a portfolio may hold.

    Raises:
        SettingsError: ids were named too, there is no leaderboard, or fewer than two backtests are on the list.
    """
    if named:
        raise SettingsError(f"compare: --shortlist chooses the backtests, {named[0]!r} cannot be named too.")
    from research.candidates import BACKTEST
    from research.leaderboard import LEADERBOARD_SCHEMA, leaderboard_file
    from warehouse.files import read_parquet

    path = leaderboard_file(results_dir)
    if not path.exists():
        raise SettingsError("compare: there is no leaderboard yet; run barloom leaderboard.")
    rows = read_parquet(path, LEADERBOARD_SCHEMA).to_pylist()
    ids = [row["id"] for row in rows if row["kind"] == BACKTEST and row["left_out"] is None]
    if len(ids) < 2:
        raise SettingsError(f"compare: the shortlist holds {len(ids)} backtests; barloom leaderboard says why.")
    return ids[: options.most] if options else ids
