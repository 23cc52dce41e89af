"""What is compiled ahead of a first run is what the run asks for."""

import pytest

from research.compiled import machine, measures
from research.compiled.ahead import _type_of
from research.engine.kernel.figures import FIGURES
from tests.unit.research.engine.declared_cases import Case, on_kernel


def given_types(function):
    code = function.py_func.__code__
    return tuple(_type_of(name) for name in code.co_varnames[: code.co_argcount])


@pytest.fixture(scope="module")
def _ran():
    run, _ = on_kernel(Case(7).prepared)
    run.metrics(sorted(FIGURES))


@pytest.mark.usefixtures("_ran")
@pytest.mark.parametrize(
    "function",
    [
        machine.simulate,
        measures.equity_curve,
        measures.daily_returns,
        measures.deepest_falls,
        measures.profits_of_trades,
    ],
)
def test_a_run_calls_what_was_compiled_ahead(function):
    assert given_types(function) in function.signatures
