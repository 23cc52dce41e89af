"""A figure is a number or a reason, never NaN."""

import math

import numpy as np

from research.measured import Measured, Missing


def test_missing_nan_and_infinity_become_none_with_a_reason():
    measured = Measured.of({"a": 1.5, "b": Missing("why"), "c": math.nan, "d": -math.inf, "e": 3, "f": "2001-01-02"})

    assert measured.values == {"a": 1.5, "b": None, "c": None, "d": None, "e": 3, "f": "2001-01-02"}
    assert measured.reasons == {"b": "why", "c": "the formula gives nan", "d": "the formula gives -inf"}


def test_numpy_scalars_become_python_floats():
    assert type(Measured.of({"a": np.float64(0.1)}).values["a"]) is float


def test_the_union_keeps_both_sides():
    both = Measured.of({"a": 1.0}) | Measured.of({"b": Missing("why")})

    assert both.values == {"a": 1.0, "b": None}
    assert both.reasons == {"b": "why"}
