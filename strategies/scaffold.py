"""A new strategy to start from, with a test that passes.

Belongs here: the two files that `barloom new strategy` writes. Does not belong here: the strategies of the library.
"""

import builtins
import keyword
import re
import sys
from pathlib import Path
from string import Template

from strategies.errors import ScaffoldError

_CAMEL_CASE = re.compile(r"[A-Z][A-Za-z0-9]*")

_STRATEGY = Template('''\
"""$name: say here what it trades on.

Run it:

    barloom backtest --strategy $module.$name --symbols AAPL --start 2000-03-01 --end 2012-12-31
"""

import numpy as np

from strategies.base_strategy import BaseStrategy
from strategies.declaration import Signals
from strategies.indicators import sma
from strategies.parameters import Constraint, Float, Int, ParameterSpace


class $name(BaseStrategy):
    """Buy while the close is clearly above its average, leave when it is below.

    Parameters (and those of `BaseStrategy`):
        period: Bars in the simple moving average.
        entry_margin: How far above the average the close must be to buy, as a fraction (0.02 is 2 %).
        exit_margin: How far above the average it must stay, as a fraction; less than `entry_margin`.
    """

    # name: type(low, high to search, step, default, valid=(least, most) that is accepted at all)
    space = ParameterSpace(
        {
            "period": Int(20, 200, 10, default=50, valid=(1, 2000)),
            "entry_margin": Float(0.01, 0.05, 0.01, default=0.02, valid=(0.0, 1.0)),
            "exit_margin": Float(0.0, 0.02, 0.01, default=0.0, valid=(-1.0, 1.0)),
        },
        (Constraint("exit_margin < entry_margin"),),
    )

    @classmethod
    def signals(cls, bars, p):
        """What to do at each bar, from that bar and the ones before it; orders execute at the next open."""
        margin = bars.close / bars.compute(sma, bars.close, p.period) - 1.0
        never = np.zeros(len(bars), dtype=bool)
        return Signals(
            p.period - 1,  # the first bar that may decide
            long_entry=margin > p.entry_margin,
            short_entry=never,
            long_exit=margin < p.exit_margin,
            short_exit=never,
        )
''')

_TEST = Template('''\
"""$name on the sample data that ships with barloom. Run: python -m pytest $test_file"""

import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from research.engine import run_backtest
from research.experiment import Experiment
from strategies.errors import ParameterError
from strategies.registry import load_strategy, resolve_params
from warehouse.actions import rebuild_actions
from warehouse.calendar import get_calendar
from warehouse.cleaning import rebuild_clean
from warehouse.ingest import update_raw
from warehouse.resolution import Resolution
from warehouse.sources.sample import SampleSource
from warehouse.store import Warehouse

STRATEGY = "$module.$name"
FIRST, LAST = date(2000, 3, 1), date(2012, 12, 31)


@pytest.fixture(autouse=True)
def strategy_is_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield
    sys.modules.pop("$module", None)


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    """Adjusted daily bars of AAPL, made the way `barloom download` makes them."""
    warehouse, calendar, daily = Warehouse(tmp_path_factory.mktemp("data")), get_calendar("XNYS"), Resolution.DAILY
    update_raw(
        warehouse, SampleSource(), "AAPL", daily, FIRST, LAST, calendar=calendar, now=datetime(2013, 3, 2, tzinfo=UTC)
    )
    rebuild_actions(warehouse, "AAPL")
    rebuild_clean(warehouse, "AAPL", daily, calendar)
    return {"AAPL": warehouse.read_bars("AAPL", daily)}


def run(bars, **params):
    return run_backtest(
        Experiment.build(strategy=STRATEGY, symbols=["AAPL"], start=FIRST, end=LAST, params=params), bars
    )


def test_it_trades_and_keeps_its_accounts(bars):
    output = run(bars)
    assert output.trades.num_rows > 10
    assert output.final_equity > 0


def test_a_parameter_changes_what_it_does(bars):
    assert run(bars, period=20).final_equity != run(bars).final_equity


def test_a_longer_average_trades_less(bars):
    assert run(bars, period=200).trades.num_rows < run(bars, period=20).trades.num_rows


def test_parameters_that_contradict_each_other_are_refused():
    with pytest.raises(ParameterError, match="exit_margin < entry_margin must hold"):
        resolve_params(load_strategy(STRATEGY), {"entry_margin": 0.01, "exit_margin": 0.02})
''')


def new_strategy(name: str, folder: Path) -> list[Path]:
    """Write a strategy and its test.

    Args:
        name: class name in CamelCase, such as `MyBreakout`; the files are `my_breakout.py` and `test_my_breakout.py`.
        folder: where to write them; made if it is not there.

    Returns:
        The files written.

    Raises:
        ScaffoldError: the name is no class name or its module would hide another, or a file is there already; nothing
            is written then.
    """
    module = _module_of(name)
    fields = {"name": name, "module": module, "test_file": f"test_{module}.py"}
    files = {
        folder / f"{module}.py": _STRATEGY.substitute(fields),
        folder / f"test_{module}.py": _TEST.substitute(fields),
    }
    for path in files:
        if path.exists():
            raise ScaffoldError(f"{path} is there already; nothing was written.")
    if folder.exists() and not folder.is_dir():
        raise ScaffoldError(f"folder: {folder} is a file.")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return list(files)


def _module_of(name: str) -> str:
    if not _CAMEL_CASE.fullmatch(name) or keyword.iskeyword(name) or hasattr(builtins, name):
        raise ScaffoldError(f"name: {name!r} must be a class name in CamelCase, such as MyBreakout.")
    module = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    if keyword.iskeyword(module) or module in _TAKEN or module in sys.stdlib_module_names:
        raise ScaffoldError(f"name: {name!r} would make a module {module!r}, which means something else already.")
    return module


_TAKEN = frozenset(
    {"backtrader", "broker", "dashboard", "numpy", "pandas", "pipelines", "research", "risk", "strategies", "warehouse"}
)
