"""The entry point: commands by name, and what an error looks like to a person.

Belongs here: the list of commands, exit codes, `--debug`. Does not belong here: what a command does.

Exit codes: 0 the work was done; 1 the answer is "no" (a quality ERROR, a failed run, a difference); 2 the request
was wrong, said in one sentence; 130 a Ctrl-C ended it.
"""

import sys
import warnings
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from broker.errors import BrokerError
from pipelines.cli.runs import INTERRUPTED
from pipelines.errors import PipelineError
from research.errors import ResearchError
from risk.errors import RiskError
from strategies.errors import StrategyError
from warehouse.errors import WarehouseError

USER_ERRORS = (WarehouseError, RiskError, StrategyError, BrokerError, ResearchError, PipelineError)

_HELP = """From market bars to live orders as one lineage graph.

Start with `barloom demo`; look at the runs with `barloom ui`.
"""


_COMMANDS = {
    "demo": ("demo:demo", "Raw bars to leaderboard on the market data that ships with barloom."),
    "ui": ("ui:ui", "Open the Dagster UI of this folder."),
    "download": ("data:download", "Fetch what the warehouse lacks, clean it and judge its quality."),
    "quality": ("data:quality", "Judge the cleaned bars; exit code 1 when an ERROR stands."),
    "sql": ("data:sql", "Ask the warehouse a question in SQL, read-only."),
    "backtest": ("backtests:backtest", "Run one backtest, or each strategy on each symbol."),
    "show": ("backtests:show", "Show one backtest: figures, warnings, risk events and files."),
    "compare": ("backtests:compare", "Put several backtests side by side, or money into all of them."),
    "reproduce": ("backtests:reproduce", "Run a backtest again; exit code 1 when something differs."),
    "check-lookahead": ("backtests:check_lookahead", "Prove that a strategy sees only closed bars."),
    "verify-engine": ("backtests:verify_engine", "Prove that every engine gives the same result."),
    "optimize": ("studies:optimize", "Search a strategy's parameters, and judge what was found."),
    "study": ("studies:study_app", "Show, resume or stop a study; look at its hold-out."),
    "walkforward": ("studies:walkforward", "Search on one range, test on the next, again and again."),
    "promote": ("studies:promote", "Make the winner of a study an experiment, when the checks pass."),
    "leaderboard": ("backtests:leaderboard", "Rank the latest backtests and the best trials of studies."),
    "mlflow": ("tracking:mlflow", "Open the MLflow UI of this folder; `mlflow sync` sends what waits in the outbox."),
    "gateway": ("gateway:gateway", "Gateways to Interactive Brokers: `check` asks one, `simulate` starts one."),
    "live": (
        "live:live",
        "Trade an experiment by itself, look at it, stop it: `start`, `status`, `stop`, `emergency-stop`.",
    ),
    "strategies": ("strategies:strategies", "List the strategies that ship with barloom."),
    "new": ("strategies:new", "Write a working, tested starting point: `new strategy NAME`."),
}
"""Command -> (module:function under `pipelines.cli`, summary); a module is imported when its command is used."""


def build_app() -> App:
    """All commands; their modules are imported when one of them is used or listed."""
    app = App(
        name="barloom",
        help=_HELP,
        version_flags=["--version"],
        help_format="markdown",
        suppress_keyboard_interrupt=False,
    )
    for name, (place, summary) in _COMMANDS.items():
        app.command(f"pipelines.cli.{place}", name=name, help=summary)
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in tokens
    if debug:
        tokens.remove("--debug")
    sys.exit(run(tokens, debug=debug))


def run(tokens: Sequence[str], *, debug: bool = False) -> int:
    """Exit code of one command line; errors meant for people are printed as one sentence on stderr."""
    # Dagster's notice to its own users; ours cannot do anything about it
    warnings.filterwarnings("ignore", message="Parameter `backfill_policy`")
    app = build_app()
    try:
        code = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _complain(str(error), error, debug=debug)
    except USER_ERRORS as error:
        return _complain(str(error), error, debug=debug)
    except OSError as error:
        return _complain(f"{error.filename or 'system'}: {error.strerror or error}.", error, debug=debug)
    except KeyboardInterrupt:
        print("Interrupted; what was finished is kept.", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    return int(code or 0)


def _complain(sentence: str, error: Exception, *, debug: bool) -> int:
    if debug:
        raise error
    print(f"barloom: {sentence}", file=sys.stderr)  # noqa: T201
    return 2
