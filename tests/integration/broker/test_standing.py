"""Where a deployment stands while it trades, and after it was killed."""

from datetime import UTC, datetime, timedelta

import pytest

from broker.deployment.standing import standing
from broker.deployment.supervision import SUPERVISOR
from tests.integration.broker.test_deployment import ACCOUNT, DAY, buy
from tests.integration.broker.test_gates import staged
from warehouse.errors import InvalidRequestError
from warehouse.ledger.locks import AccountLock
from warehouse.ledger.records import Heartbeat

pytestmark = pytest.mark.integration


def test_the_standing_of_a_session_is_what_the_account_says(recording, insync, tmp_path):
    with staged(recording, insync, tmp_path) as stage:

        def now(after=timedelta()):
            return standing(stage.ledger, "scripted", datetime.now(UTC) + after, stale_seconds=60.0)

        assert now().health == "nobody supervises it"
        later = datetime.now(UTC) + timedelta(hours=1)
        stage.ledger.beat("scripted", Heartbeat(later, SUPERVISOR, 1, "host"))
        assert (now().health, now().session, now().equity, now().room) == ("ok", None, None, ())
        with AccountLock(stage.ledger, ACCOUNT):
            stage.start(max_drawdown=0.2, max_position_value=1_200.0, max_orders_per_session=40)
            stage.step(1, buy(stop=50.0))
            stage.until(lambda: stage.booked() and stage.working())
            stage.step(2)
            stage.until(lambda: now().fills == 1 and now().state == "READY, 1 of 1 feeds live, ACTIVE")
            held, price = float(stage.holds()), stage.desk.command("status")["prices"]["AAPL"]
            stage.until(lambda: [(h.symbol, h.quantity, h.price) for h in now().holdings] == [("AAPL", held, price)])
            shown = now()
            told = stage.watcher.synchronize().value("NetLiquidation")
            assert (shown.health, shown.session, shown.run, shown.ended) == ("ok", DAY, 1, None)
            assert shown.holder.startswith("process")
            assert shown.orders == (f"SELL {held:g} AAPL STP at 50, working",)
            assert float(shown.equity) == pytest.approx(float(told), abs=0.02)
            assert shown.day_profit == shown.profit
            assert {one.limit: (one.most, one.used) for one in shown.room} == {
                "max_position_value": (1_200.0, pytest.approx(held * price)),
                "max_position_fraction": (
                    1.0,
                    pytest.approx(held * price / float(told)),
                ),  # of the strategy's parameters
                "max_orders_per_session": (40, 1),
                "max_drawdown": (0.2, pytest.approx(1 - float(told) / 1e6, abs=1e-7)),
            }
            assert now(timedelta(seconds=120)).health == "no sign of life"  # it holds the account and does not beat
        assert now().health == "no sign of life"  # nobody holds the account, and its session has not ended
        stage.end()
        assert (now().health, now().ended) == ("ok", "interrupted: the run was told to end")


def test_a_deployment_that_there_is_not_is_refused(recording, insync, tmp_path):
    with (
        staged(recording, insync, tmp_path) as stage,
        pytest.raises(InvalidRequestError, match="'other' is not one of"),
    ):
        standing(stage.ledger, "other", datetime.now(UTC), stale_seconds=60.0)
