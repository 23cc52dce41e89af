"""Fixtures of the engines' tests.

Belongs here: which loop the fast engine runs. Does not belong here: cases, recordings.
"""

import pytest

from research.engine.native import CHOICE, loaded


@pytest.fixture(scope="module", params=["compiled", "python"])
def loop(request):
    """Runs a module's tests with the compiled loop and with the one in Python."""
    if request.param == "compiled" and loaded() is None:
        pytest.skip("nothing is compiled here: python -m research.engine.native")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CHOICE, request.param)
        yield request.param
