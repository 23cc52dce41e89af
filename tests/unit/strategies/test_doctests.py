"""Examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import strategies

MODULES = [f"strategies.{module.name}" for module in pkgutil.iter_modules(strategies.__path__)]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_the_module_are_true(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_there_are_examples():
    found = [doctest.testmod(importlib.import_module(module)).attempted for module in MODULES]
    assert sum(found) >= 8
