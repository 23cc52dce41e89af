"""Records for tests of the ledger.

Belongs here: builders with defaults. Does not belong here: tests.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from warehouse.ledger.records import (
    AlarmRaised,
    BookChanged,
    CashStated,
    Command,
    CommissionTold,
    DeploymentSwitched,
    EquitySnapshot,
    Filled,
    HeldAtBegin,
    Intent,
    OrderChanged,
    PositionStated,
    RiskDecided,
    RiskMemory,
    Scope,
    SessionEnded,
    SessionStarted,
    StrategyState,
    TradingBegan,
    WorkingAtBegin,
)

OPEN = datetime(2024, 1, 5, 14, 30, tzinfo=UTC)
SCOPE = Scope("sma_aapl", "DU1", date(2024, 1, 5))


def at(seconds):
    return OPEN + timedelta(seconds=seconds)


def switched(enabled=True, **fields):
    base = {"ts": OPEN, "experiment": "sma", "mode": "paper", "experiment_yaml": "strategy: a.B\n", "fingerprint": "f1"}
    return DeploymentSwitched(**{**base, "enabled": enabled, **fields})


def intent(ref="sma_aapl/20240105/143000/0", **fields):
    base = {
        "ts": OPEN, "order_ref": ref, "symbol": "AAPL", "con_id": 265598, "side": "BUY", "quantity": Decimal(10),
        "order_type": "LMT", "bar_ts": OPEN, "limit_price": Decimal("181.10"),
    }  # fmt: skip
    return Intent(**{**base, **fields})


def changed(ref, state, **fields):
    done = state in {"FILLED", "CANCELLED", "REJECTED"}
    return OrderChanged(
        **{"ts": OPEN, "order_ref": ref, "change": "StateChanged", "state": state, "done": done, **fields}
    )


def filled(execution="e1", revision=1, **fields):
    base = {
        "ts": OPEN, "executed": OPEN, "exec_id": f"{execution}.{revision:02}", "execution": execution,
        "revision": revision, "order_ref": "sma_aapl/20240105/143000/0", "symbol": "AAPL", "con_id": 265598,
        "currency": "USD", "side": "BUY", "quantity": Decimal(10), "price": Decimal("181.10"),
    }  # fmt: skip
    return Filled(**{**base, **fields})


def paid(execution="e1", revision=1, amount="1.00"):
    return CommissionTold(OPEN, f"{execution}.{revision:02}", execution, revision, Decimal(amount), "USD")


def position(quantity, source="broker", con_id=265598, **fields):
    return PositionStated(OPEN, source, "AAPL", con_id, "USD", Decimal(quantity), **fields)


def command(action, **fields):
    return Command(**{"ts": OPEN, "action": action, "reason": "because", "by": "anna", **fields})


def risk_memory(**fields):
    base = {
        "ts": OPEN, "halt": "ACTIVE", "session": date(2024, 1, 5), "session_start_equity": 1000.1,
        "peak_equity": float("inf"), "orders_this_session": 3, "recent_orders": (at(1), at(2)), "consecutive_losses": 1,
        "cooldown_until": at(60), "latched_halt": "ACTIVE", "session_halt": "REDUCE_ONLY", "last_equity": 999.9,
    }  # fmt: skip
    return RiskMemory(**{**base, **fields})


ONE_OF_EACH = (
    switched(by="anna"),
    SessionStarted(OPEN, "run-1", 1),
    SessionEnded(at(1), "run-1", 1, "stopped", "the operator's wish"),
    changed("sma_aapl/20240105/143000/0", "WORKING", perm_id=2**40, code=399, document={"kind": "X", "q": "1.10"}),
    filled(document={"kind": "FillBooked"}, price=Decimal("181.100000000000000001")),
    CommissionTold(at(3), "e1.01", "e1", 1, Decimal("1.000035"), "USD", Decimal("-3.5")),
    position("-10.5", average_cost=Decimal("181.2")),
    CashStated(at(4), "USD", Decimal("1E+3")),
    EquitySnapshot(at(5), "USD", Decimal("1000.10"), None, Decimal("0.00")),
    RiskDecided(at(6), "refused", None, "halt_state", None, 1.5, -10.0, 0.0, "REDUCE_ONLY", "it is halted"),
    risk_memory(),
    command("halt"),
    AlarmRaised(at(7), "external_order", "An order that is not ours: über 10.", "external:1"),
    BookChanged(at(8), "ExecutionSkipped", {"exec_id": "e9"}),
    StrategyState(at(8), {"highest": 181.5, "since": None, "levels": [1, 2.5], "deep": {"a": True}}),
    TradingBegan(
        at(9),
        "run-1",
        1,
        Decimal("1000.10"),
        None,
        (HeldAtBegin("AAPL", 265598, Decimal(-3), Decimal("181.2")),),
        (WorkingAtBegin("a-1", "AAPL", "BUY", Decimal(3), "STP", None, Decimal("190.00"), reduces_only=True),),
        risk_memory(),
        {"own": {"counted": 3}},
    ),
)
