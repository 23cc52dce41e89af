"""Portfolios of backtests: money divided among several results, and what they would have come to together.

Belongs here: weights, rebalancing, risk contributions, the portfolio's page. Does not belong here: choosing the
backtests (`research.shortlist`), orders, live money.

A part is a backtest by its id, never by a strategy's name: two symbols of one strategy are two parts.
"""

from research.portfolio.options import Method, PortfolioError, PortfolioOptions
from research.portfolio.page import portfolio_html
from research.portfolio.portfolio import Portfolio, build_portfolio
from research.portfolio.store import portfolio_folder, save_portfolio

__all__ = [
    "Method",
    "Portfolio",
    "PortfolioError",
    "PortfolioOptions",
    "build_portfolio",
    "portfolio_folder",
    "portfolio_html",
    "save_portfolio",
]
