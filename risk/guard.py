"""The risk guard: the one object that every order passes, in a backtest and in live trading.

Belongs here: memory (session, peak, counts, halts), the events it records, and when a halt ends. Does not belong
here: what an order measures (see `decision`), the orders that a halt asks for (the broker sends them). The guard has no
clock: the caller passes the time, simulated or real.

How a halt ends:

| cause                      | state                      | ends                                              |
|----------------------------|----------------------------|---------------------------------------------------|
| daily loss                 | `on_daily_loss` (FLATTEN)  | by itself at the next session, or by `resume`     |
| drawdown from the peak     | `on_drawdown` (FLATTEN)    | only by `resume`, which starts a new peak         |
| losing trades in a row     | HALT_ENTRIES               | by itself after `cooldown_minutes`, or by `resume`|
| last minutes before close  | FLATTEN                    | by itself at the next session                     |
| equity is not a number     | HALT_ENTRIES               | by itself with the next equity that is one        |
| operator (`halt`)          | as asked                   | only by `resume`                                  |

The worst of them all is in force. A session's loss is measured from the last equity of the session before, so that
a gap over night counts; in the first session from the first equity seen.
"""

import math
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from risk.decision import Decision, OrderRequest, Portfolio, RiskState, Verdict, decide
from risk.errors import InvalidStateError
from risk.events import RiskEvent
from risk.limits import Limits
from risk.states import HaltState, worse

_ACTIVE = HaltState.ACTIVE
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)
_TICK = timedelta(microseconds=1)

# without one of these a guard need not know which session it is, which is most of what a mark costs
_SESSION_LIMITS = ("max_daily_loss", "max_daily_loss_fraction", "max_orders_per_session", "flat_before_close_minutes")


class RiskGuard:
    """Reviews orders, watches equity, remembers and records.

    `session_of` maps a moment (aware UTC) to its exchange session, `session_close` a session to its close (aware UTC).
    Not thread-safe: one guard belongs to one account and one event loop.
    """

    __slots__ = (
        "_close",
        "_cooldown_until",
        "_counts_sessions",
        "_daily_floor",
        "_drawdown_floor",
        "_effective",
        "_events",
        "_flat_from",
        "_floor",
        "_halt",
        "_last",
        "_limits",
        "_losses",
        "_orders",
        "_peak",
        "_quiet_until",
        "_recent",
        "_session",
        "_session_close_of",
        "_session_halt",
        "_session_of",
        "_start",
        "_unknown",
    )

    def __init__(
        self,
        limits: Limits,
        *,
        session_of: Callable[[datetime], date],
        session_close: Callable[[date], datetime],
    ) -> None:
        self._limits = limits
        self._session_of = session_of
        self._session_close_of = session_close
        self._counts_sessions = any(getattr(limits, name) is not None for name in _SESSION_LIMITS)
        self._events: list[RiskEvent] = []
        self._take(RiskState())

    # ---------------------------------------------------------------- what the guard knows

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self._limits

    @property
    def events(self) -> list[RiskEvent]:
        """Everything recorded so far, oldest first (a copy)."""
        return list(self._events)

    @property
    def halt_state(self) -> HaltState:
        """The state in force at the last time seen."""
        return self._effective

    @property
    def session_start_equity(self) -> float:
        """What the session's loss is measured from; NaN before the first mark."""
        return self._start

    @property
    def peak_equity(self) -> float:
        """What the drawdown is measured from; NaN before the first mark."""
        return self._peak

    @property
    def last_equity(self) -> float:
        """The equity at the last mark; NaN before it."""
        return self._last

    @property
    def state(self) -> RiskState:
        """All that the guard remembers, for `restore`."""
        return RiskState(
            self._effective,
            self._session,
            self._start,
            self._peak,
            self._orders,
            tuple(self._recent),
            self._losses,
            self._cooldown_until,
            self._halt,
            self._session_halt,
            self._last,
        )

    def restore(self, state: RiskState) -> None:
        """Go on from an earlier `state`, e.g. after a restart; recorded events are kept."""
        self._take(state)

    def _take(self, state: RiskState) -> None:
        self._halt = state.latched_halt
        self._session_halt = state.session_halt
        self._session = state.session
        self._start = state.session_start_equity
        self._peak = state.peak_equity
        self._last = state.last_equity
        self._orders = state.orders_this_session
        # no more than the limit itself is needed to say whether one more is too many
        self._recent = deque(state.recent_orders, maxlen=self._limits.max_orders_per_minute or 0)
        self._losses = state.consecutive_losses
        self._cooldown_until = state.cooldown_until
        self._unknown = False
        self._close: datetime | None = None
        self._flat_from: datetime | None = None
        self._quiet_until = _LONG_AGO
        # what time brings (a cool-down, the end of a session) is looked at with the next moment that is seen
        self._effective = worse(state.halt, worse(self._halt, self._session_halt))
        self._set_floors()

    # ---------------------------------------------------------------- orders

    def review(self, request: OrderRequest, portfolio: Portfolio) -> Decision:
        """Decide about one order at `request.ts`; records a refusal or a cut, counts an entry that may go."""
        now = request.ts
        if now >= self._quiet_until:
            self._pass_time(now)
        decision = decide(request, portfolio, self.state, self._limits, session_close=self._close)
        if decision.verdict is not Verdict.ALLOW:
            self._record_cut(request, decision)
        if decision.verdict is not Verdict.REFUSE and not decision.reduces_only:
            self._orders += 1
            self._recent.append(now)
        return decision

    def refuse(self, request: OrderRequest, gate: str, reason: str) -> None:
        """Record that an order may not go for a reason that is no limit, such as data that are not live.

        Args:
            request: the order.
            gate: short stable name of what forbids it.
            reason: one sentence.
        """
        nothing = Decision(Verdict.REFUSE, 0.0, gate, None, None, f"{request.symbol}: {reason}")
        self._record_cut(request, nothing)

    def closed_trade(self, pnl: float, now: datetime) -> None:
        """Tell the guard that a round trip ended with `pnl` (money, after costs); a loss counts, anything else resets.

        Raises:
            InvalidStateError: `pnl` is not a finite number.
        """
        if not math.isfinite(pnl):
            raise InvalidStateError(f"pnl: {pnl!r} is not an amount of money.")
        self._losses = self._losses + 1 if pnl < 0 else 0
        most = self._limits.max_consecutive_losses
        if most is None or self._losses < most:
            return
        self._cooldown_until = now + timedelta(minutes=self._limits.cooldown_minutes)
        self._quiet_until = min(self._quiet_until, self._cooldown_until)
        measured, self._losses = self._losses, 0
        text = f"{measured} losing trades in a row, no entries until {self._cooldown_until.isoformat()}"
        self._settle(now)
        self._record_change("halt", now, "max_consecutive_losses", text, value=most, measured=measured)

    # ---------------------------------------------------------------- time and equity

    def mark(self, portfolio: Portfolio, now: datetime) -> HaltState:
        """See the account at `now` (each bar, each timer tick); returns the state in force."""
        return self.mark_equity(portfolio.equity, now)

    def mark_equity(self, equity: float, now: datetime) -> HaltState:
        """`mark` for callers that have only the equity at hand; cheap when nothing happens."""
        if now < self._quiet_until and self._floor < equity <= self._peak:
            self._last = equity
            return self._effective
        if now >= self._quiet_until:
            self._pass_time(now)
        if math.isfinite(equity):
            self._measure(equity, now)
        elif not self._unknown:
            self._unknown = True
            self._set_floors()
            self._settle(now)
            self._record_change("halt", now, "equity", f"the equity {equity!r} is not known, no entries")
        return self._effective

    def pass_over(self, session: date, *, start: float, peak: float, last: float) -> None:
        """As if every moment up to now had been marked, none of which tripped, began or ended a halt.

        Args:
            session: of the last of these moments.
            start: equity at the last one of the session before, or where this session began.
            peak: the highest equity up to now.
            last: the equity at the last of these moments.
        """
        if self._counts_sessions and session != self._session:
            self._session = session
            self._orders = 0
            self._close = self._flat_from = None  # looked up with the next moment, which lies behind the old close
        self._start, self._peak, self._last = start, peak, last
        self._set_floors()

    def cash_flow(self, amount: float) -> None:
        """Money put in (+) or taken out (-): neither a profit nor a loss, so every reference moves with it."""
        self._start += amount
        self._peak += amount
        self._last += amount
        self._set_floors()

    def _pass_time(self, now: datetime) -> None:
        """Begin a session, end what ends by itself, and note until when nothing of that kind can happen."""
        if self._counts_sessions:
            self._see_session(self._session_of(now), now)
        if self._cooldown_until is not None and now >= self._cooldown_until:
            self._cooldown_until = None
            self._settle(now)
            self._record_change("resume", now, "max_consecutive_losses", "the cool-down is over")
        self._check_flat(now)
        self._settle(now)
        end = _NEVER if not self._counts_sessions else None if self._close is None else self._close + _TICK
        changes = (end, self._flat_from, self._cooldown_until)
        self._quiet_until = min((moment for moment in changes if moment is not None and moment > now), default=now)

    def _see_session(self, session: date, now: datetime) -> None:
        if self._session is None or session > self._session:
            self._begin_session(session, now)
        if self._close is None:
            self._close = self._session_close_of(session)
            minutes = self._limits.flat_before_close_minutes
            self._flat_from = None if minutes is None else self._close - timedelta(minutes=minutes)

    def _begin_session(self, session: date, now: datetime) -> None:
        self._session = session
        self._start = self._last
        self._orders = 0
        was, self._session_halt = self._session_halt, _ACTIVE
        flat = self._flat_from is not None and self._effective is HaltState.FLATTEN
        self._close = self._flat_from = None
        self._set_floors()
        self._settle(now)
        if was is not _ACTIVE:
            self._record_change("resume", now, "max_daily_loss", f"session {session} begins")
        elif flat and self._effective is not HaltState.FLATTEN:
            self._record_change("resume", now, "flat_before_close_minutes", f"session {session} begins")

    def _check_flat(self, now: datetime) -> None:
        if self._flat_from is None or now < self._flat_from or self._close is None:
            return
        if self._effective is not HaltState.FLATTEN:
            self._settle(now)
            minutes = self._limits.flat_before_close_minutes
            left = (self._close - now) / timedelta(minutes=1)
            text = f"{left:g} minutes before the close, every position is closed"
            self._record_change("halt", now, "flat_before_close_minutes", text, value=minutes, measured=left)

    def _measure(self, equity: float, now: datetime) -> None:
        self._last = equity
        if self._unknown:
            self._unknown = False
            self._set_floors()
            self._settle(now)
            self._record_change("resume", now, "equity", "the equity is known again", measured=equity)
        if math.isnan(self._start):
            self._start = equity
            self._set_floors()
        if not equity <= self._peak:  # also the first equity, while the peak is NaN
            self._peak = equity
            self._set_floors()
        if equity <= self._daily_floor:
            self._trip_daily(equity, now)
        if equity <= self._drawdown_floor:
            self._trip_drawdown(equity, now)

    # ---------------------------------------------------------------- halts

    def halt(self, state: HaltState, reason: str, now: datetime) -> None:
        """Stop by hand, until `resume`; never loosens a halt that is stricter.

        Raises:
            InvalidStateError: `state` is ACTIVE.
        """
        if state is _ACTIVE:
            raise InvalidStateError("state: ACTIVE is no halt, call resume.")
        self._halt = worse(self._halt, state)
        self._settle(now)
        self._record_change("halt", now, "operator", reason)

    def resume(self, reason: str, now: datetime) -> None:
        """End every halt that waits for a decision; losses, drawdown and the row of losses count from here on."""
        self._halt = self._session_halt = _ACTIVE
        self._cooldown_until = None
        self._losses = 0
        self._start = self._peak = self._last
        self._set_floors()
        self._settle(now)
        self._record_change("resume", now, "operator", reason)

    def _trip_daily(self, equity: float, now: datetime) -> None:
        limits, loss = self._limits, self._start - equity
        self._session_halt = limits.on_daily_loss
        self._set_floors()
        self._settle(now)
        by_money = limits.max_daily_loss is not None and loss >= limits.max_daily_loss
        name = "max_daily_loss" if by_money else "max_daily_loss_fraction"
        measured = loss if by_money else loss / self._start
        text = f"lost {loss:.2f} since the session began at {self._start:.2f}"
        self._record_change("halt", now, name, text, value=getattr(limits, name), measured=measured)

    def _trip_drawdown(self, equity: float, now: datetime) -> None:
        self._halt = worse(self._halt, self._limits.on_drawdown)
        drawdown = 1 - equity / self._peak
        self._set_floors()
        self._settle(now)
        text = f"{drawdown:.2%} below the highest equity {self._peak:.2f}, trading waits for a resume"
        self._record_change("halt", now, "max_drawdown", text, value=self._limits.max_drawdown, measured=drawdown)

    def _set_floors(self) -> None:
        """Equity at or below which a loss limit trips; -inf for a limit that is off or has tripped already."""
        limits, start, peak = self._limits, self._start, self._peak
        daily = drawdown = -math.inf
        if self._session_halt is _ACTIVE and not math.isnan(start):
            if limits.max_daily_loss is not None:
                daily = start - limits.max_daily_loss
            if limits.max_daily_loss_fraction is not None and start > 0:
                daily = max(daily, start * (1 - limits.max_daily_loss_fraction))
        if limits.max_drawdown is not None and peak > 0 and self._halt.severity < limits.on_drawdown.severity:
            drawdown = peak * (1 - limits.max_drawdown)
        self._daily_floor, self._drawdown_floor = daily, drawdown
        # while the equity is not known every mark has to be looked at
        self._floor = math.inf if self._unknown else max(daily, drawdown)

    def _settle(self, now: datetime) -> None:
        """Work out the state in force."""
        state = worse(self._halt, self._session_halt)
        if self._unknown or (self._cooldown_until is not None and now < self._cooldown_until):
            state = worse(state, HaltState.HALT_ENTRIES)
        if self._flat_from is not None and now >= self._flat_from:
            state = HaltState.FLATTEN
        self._effective = state

    # ---------------------------------------------------------------- records

    def _record_cut(self, request: OrderRequest, decision: Decision) -> None:
        kind: Literal["refused", "shrunk"] = "refused" if decision.verdict is Verdict.REFUSE else "shrunk"
        self._events.append(
            RiskEvent(
                request.ts,
                kind,
                request.symbol,
                decision.limit or "",
                decision.limit_value,
                decision.measured,
                request.quantity,
                decision.quantity,
                self._effective,
                decision.reason,
            )
        )

    def _record_change(
        self,
        kind: Literal["halt", "resume"],
        now: datetime,
        limit: str,
        text: str,
        *,
        value: float | None = None,
        measured: float | None = None,
    ) -> None:
        self._events.append(RiskEvent(now, kind, None, limit, value, measured, None, None, self._effective, text))
