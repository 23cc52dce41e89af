"""What a terminal says of a run of the graph that did not do its work."""

from pipelines.cli.runs import report_failures
from pipelines.runs import RunOutcome

INTERRUPTED = "Interrupted; what was finished is kept."


def test_an_interrupted_run_has_the_exit_code_of_a_ctrl_c_and_has_not_failed(capsys):
    outcome = RunOutcome(("0123456789",), False, {}, error=INTERRUPTED, interrupted=True)
    assert report_failures(outcome) == 130
    assert capsys.readouterr().err == f"{INTERRUPTED}\n"


def test_what_failed_before_the_interrupt_is_still_told(capsys):
    outcome = RunOutcome(("0123456789",), False, {"AAPL": "No bars."}, interrupted=True)
    assert report_failures(outcome) == 130
    assert capsys.readouterr().err == "AAPL: No bars.\n"


def test_a_run_that_failed_names_what_failed_and_where_to_read_on(capsys):
    outcome = RunOutcome(("0123456789",), False, {"AAPL": "No bars."})
    assert report_failures(outcome) == 1
    assert capsys.readouterr().err == "AAPL: No bars.\nrun 01234567 failed; `barloom ui` shows its log.\n"
