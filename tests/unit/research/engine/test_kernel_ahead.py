"""What is compiled ahead of a first run is what the run asks for."""

import pytest

from research.engine.kernel import figures, machine
from research.engine.kernel.ahead import _type_of
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
    "function", [machine.simulate, figures._curve, figures._returns, figures._depths, figures._trades]
)
def test_a_run_calls_what_was_compiled_ahead(function):
    assert given_types(function) in function.signatures
