"""What a ledger does in any database: the tests that SQLite and PostgreSQL both pass.

Belongs here: tests that use a `ledger` fixture, opened and empty. Does not belong here: what one of them does only.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from sqlalchemy import text

from tests.unit.warehouse.ledger.samples import (
    ONE_OF_EACH,
    OPEN,
    SCOPE,
    at,
    changed,
    command,
    filled,
    intent,
    paid,
    position,
    risk_memory,
    switched,
)
from warehouse.errors import AlreadyRecordedError, InvalidRequestError, LedgerError
from warehouse.ledger.database import make_engine
from warehouse.ledger.records import (
    AlarmRaised,
    BookChanged,
    CashStated,
    CommandAnswered,
    DesiredState,
    EquitySnapshot,
    Heartbeat,
    Scope,
    SessionEnded,
    SessionStarted,
    StrategyState,
)

REF = "sma_aapl/20240105/143000/0"


class LedgerBehaviour:
    """Tests of `Ledger`."""

    def test_every_record_is_given_back_as_it_was(self, ledger):
        ledger.commit_intent(SCOPE, intent(document={"kind": "OrderIntended"}))
        ledger.append(SCOPE, *ONE_OF_EACH)
        found = ledger.events("sma_aapl")
        assert [one.record for one in found] == [intent(document={"kind": "OrderIntended"}), *ONE_OF_EACH]
        assert {one.scope for one in found} == {SCOPE}
        assert [one.number for one in found] == sorted(one.number for one in found)

    def test_an_alarm_is_raised_once_in_a_session_whoever_raises_it(self, ledger):
        alarm, later = AlarmRaised(at(0), "run_failed", "run 1 was lost"), Scope("sma_aapl", "DU1", date(2024, 1, 8))
        with ThreadPoolExecutor(4) as pool:
            new = list(pool.map(lambda second: ledger.raise_once(SCOPE, replace(alarm, ts=at(second))), range(4)))
        assert sorted(new) == [False, False, False, True]
        assert ledger.raise_once(SCOPE, replace(alarm, text="run 2 was lost"))
        assert ledger.raise_once(later, alarm)
        assert [one.text for one in ledger.alarms("sma_aapl", SCOPE.session)] == ["run 1 was lost", "run 2 was lost"]
        assert ledger.alarms("sma_aapl", later.session) == (alarm,)
        assert ledger.alarms("sma_aapl", None) == ledger.alarms("another", later.session) == ()

    def test_events_are_told_from_a_number_on(self, ledger):
        numbers = ledger.append(SCOPE, *ONE_OF_EACH)
        assert [one.number for one in ledger.events("sma_aapl", after=numbers[3])] == list(numbers[4:])
        assert ledger.events("another") == ()

    def test_a_moment_of_any_zone_is_kept_as_utc(self, ledger):
        there = datetime(2024, 1, 5, 9, 30, 0, 123456, tzinfo=timezone(timedelta(hours=-5)))
        ledger.append(SCOPE, switched(ts=there))
        kept = ledger.deployments()["sma_aapl"][1].ts
        assert kept == there
        assert kept.utcoffset() == timedelta(0)

    # ------------------------------------------------------------ intents

    def test_an_intent_is_open_and_of_unknown_state_once_committed(self, ledger):
        ledger.commit_intent(SCOPE, intent())
        (found,) = ledger.open_intents("DU1")
        assert (found.intent, found.state, found.scope) == (intent(), None, SCOPE)
        assert ledger.open_intents("DU2") == ()

    def test_a_reference_is_committed_once_by_whomever(self, ledger):
        ledger.commit_intent(SCOPE, intent())
        other = Scope("other", "DU2", date(2024, 1, 8))
        with pytest.raises(AlreadyRecordedError, match=f"the intent {REF} is refused, it is recorded already"):
            ledger.commit_intent(other, intent(quantity=Decimal(99)))
        assert ledger.intent(REF).intent.quantity == Decimal(10)
        assert ledger.events("other") == ()

    def test_a_bracket_is_committed_whole_or_not_at_all(self, ledger):
        ledger.commit_intent(SCOPE, intent("a/20240105/143000/1"))
        with pytest.raises(AlreadyRecordedError):
            ledger.commit_intent(SCOPE, intent("a/20240105/143000/0"), intent("a/20240105/143000/1"))
        assert [one.intent.order_ref for one in ledger.open_intents("DU1")] == ["a/20240105/143000/1"]

    def test_only_commit_intent_takes_an_intent(self, ledger):
        with pytest.raises(InvalidRequestError, match="committed with commit_intent"):
            ledger.append(SCOPE, intent())

    def test_an_intent_is_open_until_its_order_is_done(self, ledger):
        ledger.commit_intent(SCOPE, intent("a"), intent("b"))
        ledger.append(SCOPE, changed("a", "SENT"), changed("a", "WORKING"), changed("b", "REJECTED"))
        assert [(one.intent.order_ref, one.state) for one in ledger.open_intents("DU1")] == [("a", "WORKING")]
        assert ledger.intent("b").state == "REJECTED"
        assert ledger.intent("c") is None

    def test_a_change_without_a_state_leaves_the_state(self, ledger):
        ledger.commit_intent(SCOPE, intent("a"))
        ledger.append(SCOPE, changed("a", "FILLED"), changed("a", None, change="OrderWarned", reason="late"))
        assert ledger.intent("a").state == "FILLED"
        assert ledger.open_intents("DU1") == ()

    def test_an_order_that_reopens_is_open_again(self, ledger):
        ledger.commit_intent(SCOPE, intent("a"))
        ledger.append(SCOPE, changed("a", "CANCELLED"), changed("a", "UNKNOWN"))
        assert [one.state for one in ledger.open_intents("DU1")] == ["UNKNOWN"]

    def test_what_was_appended_later_counts_whatever_its_clock_says(self, ledger):
        ledger.commit_intent(SCOPE, intent("a"))
        ledger.append(SCOPE, changed("a", "WORKING", ts=at(100)), changed("a", "CANCELLED", ts=at(0)))
        assert ledger.intent("a").state == "CANCELLED"

    # ------------------------------------------------------------ fills

    def test_an_execution_is_recorded_once(self, ledger):
        ledger.append(SCOPE, filled())
        with pytest.raises(AlreadyRecordedError, match="recording fill is refused"):
            ledger.append(SCOPE, filled(quantity=Decimal(11)))
        assert [one.filled.quantity for one in ledger.fills("DU1")] == [Decimal(10)]

    def test_records_that_are_appended_together_are_kept_all_or_none(self, ledger):
        ledger.append(SCOPE, filled())
        with pytest.raises(AlreadyRecordedError):
            ledger.append(SCOPE, changed(REF, "FILLED"), filled("e2"), filled())
        assert [one.record for one in ledger.events("sma_aapl")] == [filled()]
        assert len(ledger.fills("DU1")) == 1

    def test_a_correction_takes_the_place_of_what_it_corrects(self, ledger):
        ledger.append(SCOPE, filled(), filled(revision=2, quantity=Decimal(9)))
        (found,) = ledger.fills("DU1")
        assert (found.filled.exec_id, found.filled.quantity) == ("e1.02", Decimal(9))
        assert len(ledger.events("sma_aapl")) == 2

    def test_a_fill_has_the_commission_of_its_highest_revision(self, ledger):
        ledger.append(SCOPE, paid(revision=2, amount="0.90"), paid(revision=2, amount="0.95"), filled())
        ledger.append(SCOPE, paid(amount="1.00"), filled("e2"))
        first, second = ledger.fills("DU1")
        assert first.commission.amount == Decimal("0.95")
        assert second.commission is None

    def test_fills_are_those_of_the_session_asked_for_in_the_order_they_happened(self, ledger):
        ledger.append(SCOPE, filled("e2", executed=at(2)), filled("e1", executed=at(1)))
        ledger.append(replace(SCOPE, session=date(2024, 1, 8)), filled("e3", executed=at(3)))
        assert [one.filled.execution for one in ledger.fills("DU1")] == ["e1", "e2", "e3"]
        assert [one.filled.execution for one in ledger.fills("DU1", date(2024, 1, 5))] == ["e1", "e2"]
        assert ledger.fills("DU1", date(2024, 1, 9)) == ledger.fills("DU2") == ()

    # ------------------------------------------------------------ where it stands

    def test_the_current_state_holds_the_last_of_everything(self, ledger):
        ledger.append(SCOPE, switched(), SessionStarted(OPEN, "r", 1), SessionStarted(at(9), "r", 2))
        ledger.commit_intent(SCOPE, intent())
        ledger.append(SCOPE, position(5), position(7), position(6, "ours"), position(1, con_id=1))
        ledger.append(
            SCOPE, *(CashStated(at(n), money, Decimal(n)) for n, money in ((1, "USD"), (2, "EUR"), (3, "USD")))
        )
        ledger.append(SCOPE, *(EquitySnapshot(at(n), "USD", Decimal(n)) for n in (1, 2)))
        ledger.append(SCOPE, risk_memory(orders_this_session=4), StrategyState(OPEN, {"n": 1}))
        ledger.append(SCOPE, risk_memory(orders_this_session=5), StrategyState(OPEN, {"n": 2}))
        state = ledger.current_state("sma_aapl")
        assert state.switched == switched()
        assert state.desired == DesiredState(enabled=True)
        assert (state.session.started.attempt, state.session.ended) == (2, None)
        assert [one.intent for one in state.open_intents] == [intent()]
        assert [(p.source, p.con_id, p.quantity) for p in state.positions] == [
            ("broker", 1, Decimal(1)), ("broker", 265598, Decimal(7)), ("ours", 265598, Decimal(6)),
        ]  # fmt: skip
        assert [(c.currency, c.amount) for c in state.cash] == [("EUR", Decimal(2)), ("USD", Decimal(3))]
        assert state.equity.equity == Decimal(2)
        assert (state.risk.orders_this_session, state.variables) == (5, {"n": 2})

    def test_the_state_of_an_account_goes_over_to_its_next_deployment(self, ledger):
        ledger.append(SCOPE, switched(), risk_memory(), position(5), StrategyState(OPEN, {"n": 1}))
        ledger.append(Scope("next", "DU1"), switched())
        state = ledger.current_state("next")
        assert (state.risk, state.positions) == (risk_memory(), (position(5),))
        assert state.variables == {}

    def test_a_deployment_that_was_never_switched_on_has_no_state(self, ledger):
        with pytest.raises(InvalidRequestError, match="deployment: 'nobody' was never switched on"):
            ledger.current_state("nobody")
        assert ledger.desired_state("nobody") == DesiredState(enabled=False)

    def test_the_last_switch_of_each_deployment_counts(self, ledger):
        ledger.append(SCOPE, switched(), switched(False, fingerprint="f2"))
        ledger.append(Scope("other", "DU2"), switched())
        found = ledger.deployments()
        assert {name: one.enabled for name, (_, one) in found.items()} == {"sma_aapl": False, "other": True}
        assert found["other"][0] == Scope("other", "DU2")

    def test_an_attempt_that_did_not_end_by_itself_has_no_end(self, ledger):
        ledger.append(SCOPE, SessionStarted(at(1), "r", 1), SessionStarted(at(2), "r", 2))
        ledger.append(SCOPE, SessionEnded(at(3), "r", 2, "done"))
        first, second = ledger.sessions("sma_aapl")
        assert (first.started.attempt, first.ended) == (1, None)
        assert second.ended.outcome == "done"
        with pytest.raises(AlreadyRecordedError):
            ledger.append(SCOPE, SessionStarted(at(4), "r", 2))

    def test_commands_are_pending_until_they_are_answered_once(self, ledger):
        first, second = ledger.append(SCOPE, command("halt"), command("resume"))
        assert ledger.pending_commands("sma_aapl") == ((first, command("halt")), (second, command("resume")))
        ledger.append(SCOPE, CommandAnswered(OPEN, first, "done"))
        assert [number for number, _ in ledger.pending_commands("sma_aapl")] == [second]
        with pytest.raises(AlreadyRecordedError):
            ledger.append(SCOPE, CommandAnswered(at(1), first, "done"))
        assert ledger.pending_commands("other") == ()

    def test_a_command_that_does_not_exist_cannot_be_answered(self, ledger):
        with pytest.raises(LedgerError, match="recording answer is refused"):
            ledger.append(SCOPE, CommandAnswered(OPEN, 77, "done"))

    def test_an_answered_command_is_still_wanted(self, ledger):
        ledger.append(SCOPE, switched())
        (number,) = ledger.append(SCOPE, command("reduce_only"))
        ledger.append(SCOPE, CommandAnswered(OPEN, number, "done"))
        assert ledger.desired_state("sma_aapl") == DesiredState(True, "REDUCE_ONLY", None, "because")

    def test_only_the_last_heartbeat_of_a_part_is_kept(self, ledger):
        beats = [Heartbeat(at(n), part, 10 + n, "host", "READY") for n, part in enumerate(("job", "watch", "job"))]
        for beat in beats:
            ledger.beat("sma_aapl", beat)
        assert ledger.last_heartbeat("sma_aapl") == ledger.last_heartbeat("sma_aapl", "job") == beats[2]
        assert ledger.last_heartbeat("sma_aapl", "watch") == beats[1]
        assert ledger.last_heartbeat("other") is None

    def test_the_documents_of_an_order_book_come_back_in_their_order(self, ledger):
        ledger.commit_intent(SCOPE, intent(document={"n": 0}))
        ledger.append(SCOPE, changed(REF, "SENT", document={"n": 1}), filled(document={"n": 2, "price": "1.10"}))
        ledger.append(SCOPE, command("halt"), changed(REF, "FILLED"), position(1, document={"n": 3}))
        ledger.append(Scope("other", "DU2"), position(1, document={"n": 4}))
        ledger.append(Scope("next", "DU1"), position(1, document={"n": 5}), BookChanged(OPEN, "Skipped", {"n": 6}))
        assert [one["n"] for one in ledger.documents("DU1")] == [0, 1, 2, 3, 5, 6]
        assert ledger.documents("DU1")[2]["price"] == "1.10"

    # ------------------------------------------------------------ laws of the database

    @pytest.mark.parametrize("statement", ["UPDATE events SET account = 'DU9'", "DELETE FROM events"])
    def test_the_database_refuses_to_change_an_event(self, ledger, statement):
        ledger.append(SCOPE, switched())
        engine = make_engine(ledger.place, 5)
        with pytest.raises(Exception, match="append-only"), engine.begin() as connection:
            connection.execute(text(statement))
        engine.dispose()
        assert [one.scope.account for one in ledger.events("sma_aapl")] == ["DU1"]

    def test_the_tables_can_be_made_again_from_the_events(self, ledger):
        ledger.commit_intent(SCOPE, intent())
        ledger.append(SCOPE, *ONE_OF_EACH)
        before = ledger.current_state("sma_aapl"), ledger.fills("DU1"), ledger.sessions("sma_aapl")
        engine = make_engine(ledger.place, 5)
        with engine.begin() as connection:
            for table in ("fills", "order_changes", "positions", "session_ends"):
                connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608
        engine.dispose()
        assert ledger.fills("DU1") == ()
        assert ledger.rebuild() == len(ONE_OF_EACH) + 1
        assert (ledger.current_state("sma_aapl"), ledger.fills("DU1"), ledger.sessions("sma_aapl")) == before

    def test_an_event_that_cannot_be_read_stops_a_rebuild_which_changes_nothing(self, ledger):
        ledger.append(SCOPE, position(1))
        engine = make_engine(ledger.place, 5)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO events (ts, deployment, account, kind, payload)"
                    " SELECT ts, deployment, account, kind, '{}' FROM events"
                )
            )
        engine.dispose()
        before = ledger.fills("DU1")
        with pytest.raises(LedgerError, match="an event of kind 'position' cannot be read at 'ts'"):
            ledger.rebuild()
        ledger.append(SCOPE, switched())
        assert (ledger.fills("DU1"), ledger.current_state("sma_aapl").positions) == (before, (position(1),))

    def test_all_threads_of_a_process_may_append_at_once(self, ledger):
        def work(thread):
            mine = Scope(f"d{thread}", f"DU{thread}")
            for n in range(10):
                ledger.commit_intent(mine, intent(f"{thread}-{n}"))
                ledger.append(mine, changed(f"{thread}-{n}", "SENT"))
            return [(one.intent.order_ref, one.state) for one in ledger.open_intents(mine.account)]

        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(work, range(6)))
        assert found == [[(f"{thread}-{n}", "SENT") for n in range(10)] for thread in range(6)]

    def test_one_reference_from_many_threads_is_one_intent(self, ledger):
        def work(thread):
            try:
                ledger.commit_intent(SCOPE, intent(quantity=Decimal(thread + 1)))
            except AlreadyRecordedError:
                return 0
            return thread + 1

        with ThreadPoolExecutor(6) as pool:
            won = [one for one in pool.map(work, range(6)) if one]
        assert [one.intent.quantity for one in ledger.open_intents("DU1")] == won

    @pytest.mark.parametrize(
        ("scope", "record", "sentence"),
        [
            (Scope("a b", "DU1"), switched(), "deployment: 'a b' must be"),
            (Scope("a", ""), switched(), "account: a name is expected"),
            (SCOPE, switched(ts=datetime(2024, 1, 5)), "deployment.ts: 2024-01-05T00:00:00 has no time zone"),  # noqa: DTZ001
            (SCOPE, CashStated(OPEN, "USD", Decimal("NaN")), "cash.amount: NaN is not a number"),
            (SCOPE, switched(experiment="a\0b"), r"deployment.experiment: 'a\\x00b' holds a character"),
            (SCOPE, changed("a", "SENT", perm_id=2**63), "order.perm_id: 9223372036854775808 has more than 64 bits"),
            (SCOPE, CashStated(OPEN, "USD", 1.5), "cash: a value cannot be written"),
            (SCOPE, StrategyState(OPEN, {"a": float("nan")}), "strategy_state.variables: it cannot be written as JSON"),
            (SCOPE, StrategyState(OPEN, {"a": Decimal(1)}), "strategy_state.variables: it cannot be written as JSON"),
        ],
    )
    def test_what_cannot_be_stored_is_refused_by_name(self, ledger, scope, record, sentence):
        with pytest.raises(InvalidRequestError, match=sentence):
            ledger.append(scope, record)
        assert ledger.deployments() == {}

    def test_a_ledger_is_opened_again_as_it_was(self, ledger, reopened):
        ledger.append(SCOPE, switched())
        ledger.close()
        with reopened() as again:
            assert again.current_state("sma_aapl").switched.ts == datetime(2024, 1, 5, 14, 30, tzinfo=UTC)
