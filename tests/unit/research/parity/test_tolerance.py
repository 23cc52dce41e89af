"""What may differ, and who says so."""

from decimal import Decimal

import pytest

from research.errors import ParityError
from research.parity.checks import CHECKS
from research.parity.tolerance import Tolerances, load_tolerances, verdicts
from tests.unit.research.parity.orders import order
from tests.unit.research.parity.test_report import report

D = Decimal


def judged(found, **most):
    return {one.name: one for one in verdicts(found, Tolerances(**most))}


def test_there_is_one_judgement_for_each_check():
    assert list(judged(report([], []))) == list(CHECKS)


def test_a_session_without_a_trade_passes():
    assert all(one.passed for one in judged(report([], [])).values())


def test_a_price_is_measured_in_basis_points_of_what_was_traded():
    found = report([order(price="100.20", commission="0")], [order(commission="0")])  # 2.00 of 1,002.00
    price = judged(found)["price"]
    assert (price.passed, price.measured, price.most) == (False, D("19.960"), 10)
    assert price.sentence == "Price -2.00 is 19.96 basis points of the value traded live; 10 may be."
    assert judged(found, price=20)["price"].passed


def test_the_whole_difference_is_measured_in_basis_points_of_the_equity():
    found = report([order(price="100.20", commission="0")], [order(commission="0")])
    assert judged(found)["total"].measured == 2  # of 10,000.00


def test_signals_are_counted():
    found = report([], [order(bar=1), order("SELL", bar=3)])
    assert (judged(found)["signals"].measured, judged(found)["signals"].passed) == (2, False)
    assert judged(found, signals=2)["signals"].passed


def test_a_file_changes_what_it_names(tmp_path):
    path = tmp_path / "parity.yaml"
    path.write_text("price: 2.5\nmissed_fills: 3\n")
    assert load_tolerances(path) == Tolerances(price=D("2.5"), missed_fills=3)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("prise: 1\n", "parity.yaml: prise is not a known key; did you mean price"),
        ("price: -1\n", "parity.yaml: price: -1 "),
        ("price: [\n", "parity file: .* is not valid YAML"),
        ("- 1\n", "parity.yaml: "),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "parity.yaml"
    path.write_text(text)
    with pytest.raises(ParityError, match=sentence):
        load_tolerances(path)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ParityError, match=r"parity file: .*parity.yaml cannot be read"):
        load_tolerances(tmp_path / "parity.yaml")
