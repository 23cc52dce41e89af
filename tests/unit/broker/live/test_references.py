"""Names of orders."""

from datetime import UTC, datetime

from broker.live.references import DeploymentReferences

BAR = datetime(2024, 1, 8, 14, 33, tzinfo=UTC)


def test_a_reference_names_deployment_session_bar_and_number():
    make = DeploymentReferences("momentum", lambda moment: moment.date())
    assert make(BAR, 2) == "momentum/20240108/143300/2"


def test_the_same_decision_has_the_same_reference_in_another_run():
    first, second = (DeploymentReferences("momentum", lambda moment: moment.date()) for _ in range(2))
    assert first(BAR, 0) == second(BAR, 0)
