"""`barloom demo`: the main job on the bars that ship with the project.

Belongs here: the order of the steps and what is printed. Does not belong here: any of the work.
"""

from pipelines.cli.backtests import leaderboard, run_experiments
from pipelines.cli.data import bring_bars
from pipelines.cli.tables import say

SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
EXPERIMENTS = ("sma_aapl", "sma_portfolio", "risk_drawdown")


def demo() -> int:
    """Raw bars, corporate actions, clean bars, quality reports, three backtests, leaderboard: on real market data.

    What has not changed is not computed again.
    """
    code = bring_bars(list(SYMBOLS)) or run_experiments(EXPERIMENTS) or leaderboard()
    if code == 0:
        say("Every run of this is in the UI: `make ui`, then http://127.0.0.1:3000")
    return code
