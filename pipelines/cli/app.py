"""The entry point: commands by name, and what an error looks like to a person.

Belongs here: the list of commands, exit codes, `--debug`. Does not belong here: what a command does.

Exit codes: 0 the work was done; 1 the answer is "no" (a quality ERROR, a failed run, a difference); 2 the request
was wrong, said in one sentence.
"""

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from broker.errors import BrokerError
from pipelines.errors import PipelineError
from research.errors import ResearchError
from risk.errors import RiskError
from strategies.errors import StrategyError
from warehouse.errors import WarehouseError

USER_ERRORS = (WarehouseError, RiskError, StrategyError, BrokerError, ResearchError, PipelineError)

_HELP = """From market bars to live orders as one lineage graph.

Start with `barloom demo`; look at the runs with `barloom ui`.
"""


def build_app() -> App:
    """All commands; their modules are imported when one of them is used or listed."""
    app = App(name="barloom", help=_HELP, version_flags=["--version"], help_format="markdown")
    app.command("pipelines.cli.demo:demo", name="demo")
    app.command("pipelines.cli.ui:ui", name="ui")
    app.command("pipelines.cli.data:download", name="download")
    app.command("pipelines.cli.data:quality", name="quality")
    app.command("pipelines.cli.data:sql", name="sql")
    app.command("pipelines.cli.backtests:backtest", name="backtest")
    app.command("pipelines.cli.backtests:show", name="show")
    app.command("pipelines.cli.backtests:compare", name="compare")
    app.command("pipelines.cli.backtests:reproduce", name="reproduce")
    app.command("pipelines.cli.backtests:check_lookahead", name="check-lookahead")
    app.command("pipelines.cli.backtests:leaderboard", name="leaderboard")
    app.command("pipelines.cli.strategies:strategies", name="strategies")
    app.command("pipelines.cli.strategies:new", name="new")
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
    app = build_app()
    try:
        code = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _complain(str(error), error, debug=debug)
    except USER_ERRORS as error:
        return _complain(str(error), error, debug=debug)
    except KeyboardInterrupt:
        print("Interrupted; what was finished is kept.", file=sys.stderr)  # noqa: T201
        return 130
    return int(code or 0)


def _complain(sentence: str, error: Exception, *, debug: bool) -> int:
    if debug:
        raise error
    print(f"barloom: {sentence}", file=sys.stderr)  # noqa: T201
    return 2
