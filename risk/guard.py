"""The guard in front of a broker, the same object in a backtest and in live trading.

Belongs here: what must be remembered between orders (session, peak, halts, order times) and the record of events. Does
not belong here: the decision about one order (see `decision`), clocks (the caller passes the time), brokers.

What ends a halt: `max_daily_loss*` and `flat_before_close_minutes` end with their session, `max_drawdown` and a manual
halt last until `resume`.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from risk.decision import ORDER_WINDOW, Decision, OrderRequest, Portfolio, RiskState, Verdict, decide
from risk.events import RiskEvent
from risk.limits import Limits
from risk.states import HaltState, worse

_SESSION_CAUSES = frozenset({"max_daily_loss", "max_daily_loss_fraction", "flat_before_close_minutes"})
_SESSION_LIMITS = (
    "max_daily_loss", "max_daily_loss_fraction", "max_orders_per_session", "flat_before_close_minutes",
)  # fmt: skip
_NEVER, _ALWAYS = float("-inf"), float("inf")
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)


def _needs_sessions(limits: Limits) -> bool:
    return any(getattr(limits, name) is not None for name in _SESSION_LIMITS)


class RiskGuard:
    """Limits with a memory.

    Args:
        limits: what is limited.
        session_of: exchange day of a moment (aware UTC).
        session_close: regular close (aware UTC) of an exchange day.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        session_of: Callable[[datetime], date],
        session_close: Callable[[date], datetime],
    ) -> None:
        self.limits = limits
        self._session_of = session_of
        self._session_close = session_close
        self._state = RiskState()
        self._close: datetime | None = None
        # until then nothing but equity can change the state; for ever when no limit has to do with sessions
        self._watch_until = _EARLIEST if _needs_sessions(limits) else _LATEST
        self._floor = _NEVER  # equity at or below it trips a limit
        self._watches_peak = limits.max_drawdown is not None
        self._last_equity: float | None = None
        self.events: list[RiskEvent] = []

    @property
    def state(self) -> RiskState:
        """What the guard remembers at this moment."""
        return replace(self._state, last_equity=self._last_equity)

    def restore(self, state: RiskState) -> None:
        """Continue from a remembered state, after a restart in the middle of a session."""
        self._state = state
        self._last_equity = state.last_equity
        if state.session is not None:
            self._set_session_clock(state.session)
        self._set_floor()

    def review(self, request: OrderRequest, portfolio: Portfolio) -> Decision:
        """Decide about an order, count it when it goes, and record what was taken from it."""
        decision = decide(request, portfolio, self._state, self.limits, session_close=self._close)
        if decision.entry:
            self._count_order(request.ts)
        if decision.verdict is not Verdict.ALLOW:
            self._record_decision(request, decision)
        return decision

    def mark(self, portfolio: Portfolio, now: datetime) -> HaltState:
        """See the portfolio's equity at a moment; see `mark_equity`."""
        return self.mark_equity(portfolio.equity, now)

    def mark_equity(self, equity: float, now: datetime) -> HaltState:
        """See the equity at a moment: sessions roll, losses are measured; returns the halt state from here on.

        An equity that is not a number halts entries until it is known again: unknown is never fine.
        """
        state = self._state
        if (
            now <= self._watch_until
            and equity > self._floor
            and not (self._watches_peak and equity > (state.peak_equity or 0.0))
        ):
            self._last_equity = equity
            return state.halt
        return self._mark_slowly(equity, now)

    def _mark_slowly(self, equity: float, now: datetime) -> HaltState:
        if equity != equity:  # NaN  # noqa: PLR0124
            self._halt("equity_unknown", HaltState.HALT_ENTRIES, now, "equity is not known")
            self._floor = _ALWAYS  # so that the next mark looks closely
            return self._state.halt
        self._lift({"equity_unknown"}, now, "equity is known again")
        self._roll_session(equity, now)
        peak = max(self._state.peak_equity or equity, equity)
        self._state = replace(self._state, peak_equity=peak, last_equity=equity)
        self._last_equity = equity
        self._check_losses(equity, now)
        self._check_close(now)
        self._set_floor()
        return self._state.halt

    def closed_trade(self, pnl: float, now: datetime) -> None:
        """Count a closed trade (`pnl` after costs); too many losses in a row start the cool-down."""
        most = self.limits.max_consecutive_losses
        losses = self._state.consecutive_losses + 1 if pnl < 0 else 0
        if most is None or losses < most:
            self._state = replace(self._state, consecutive_losses=losses)
            return
        until = now + timedelta(minutes=self.limits.cooldown_minutes)
        self._state = replace(self._state, consecutive_losses=0, cooldown_until=until)
        reason = f"no entries until {until:%Y-%m-%d %H:%M} UTC"
        self._record(now, "cooldown", "max_consecutive_losses", reason, value=most, measured=losses)

    def halt(self, state: HaltState, reason: str, now: datetime) -> None:
        """Halt by hand; lasts until `resume`."""
        self._halt("manual", state, now, reason)

    def resume(self, reason: str, now: datetime) -> None:
        """End every halt by hand; the drawdown is measured from the equity of this moment on."""
        equity = self._last_equity
        self._state = replace(self._state, peak_equity=equity, session_start_equity=equity)
        self._lift({cause for cause, _ in self._state.causes}, now, reason)
        self._set_floor()

    # ---------------------------------------------------------------- sessions

    def _roll_session(self, equity: float, now: datetime) -> None:
        if self._watch_until == _LATEST or (self._close is not None and now <= self._close):
            return
        session = self._session_of(now)
        if session == self._state.session:
            return
        start = self._last_equity if self._last_equity is not None else equity
        self._state = replace(self._state, session=session, session_start_equity=start, orders_this_session=0)
        self._set_session_clock(session)
        self._lift(_SESSION_CAUSES, now, "a new session began")

    def _set_session_clock(self, session: date) -> None:
        self._close = close = self._session_close(session)
        minutes = self.limits.flat_before_close_minutes
        self._watch_until = close if minutes is None else close - timedelta(minutes=minutes, microseconds=1)

    def _set_floor(self) -> None:
        state, limits = self._state, self.limits
        floors = [_NEVER]
        if state.session_start_equity is not None:
            floors += [loss_floor for _, _, loss_floor in self._daily_floors(state.session_start_equity)]
        if limits.max_drawdown is not None and state.peak_equity is not None:
            floors.append(state.peak_equity * (1.0 - limits.max_drawdown))
        self._floor = max(floors)

    def _daily_floors(self, start: float) -> list[tuple[str, float, float]]:
        """(limit, its value, equity at which it trips)."""
        money, fraction = self.limits.max_daily_loss, self.limits.max_daily_loss_fraction
        floors = []
        if money is not None:
            floors.append(("max_daily_loss", money, start - money))
        if fraction is not None:
            floors.append(("max_daily_loss_fraction", fraction, start * (1.0 - fraction)))
        return floors

    # ---------------------------------------------------------------- losses

    def _check_losses(self, equity: float, now: datetime) -> None:
        start, peak = self._state.session_start_equity, self._state.peak_equity
        for limit, value, floor in self._daily_floors(start) if start is not None else ():
            if equity <= floor:
                lost = start - equity if limit == "max_daily_loss" else 1.0 - equity / start  # type: ignore[operator]
                self._halt(
                    limit,
                    self.limits.on_daily_loss,
                    now,
                    f"lost {lost:g} since the session began",
                    value=value,
                    measured=lost,
                )
        most = self.limits.max_drawdown
        if most is not None and peak is not None and equity <= peak * (1.0 - most):
            fall = 1.0 - equity / peak
            self._halt(
                "max_drawdown",
                self.limits.on_drawdown,
                now,
                f"fell {fall:.2%} from the peak",
                value=most,
                measured=fall,
            )

    def _check_close(self, now: datetime) -> None:
        minutes = self.limits.flat_before_close_minutes
        if minutes is None or self._close is None:
            return
        left = (self._close - now).total_seconds() / 60
        if left <= minutes:
            limit = "flat_before_close_minutes"
            self._halt(limit, HaltState.FLATTEN, now, f"{left:g} minutes to the close", value=minutes, measured=left)

    # ---------------------------------------------------------------- state and record

    def _halt(
        self,
        cause: str,
        state: HaltState,
        now: datetime,
        reason: str,
        *,
        value: float | None = None,
        measured: float | None = None,
    ) -> None:
        known = dict(self._state.causes)
        if state is HaltState.ACTIVE or known.get(cause) is state:
            return
        self._set_causes({**known, cause: state})
        self._record(now, "halt", cause, reason, value=value, measured=measured)

    def _lift(self, causes: set[str] | frozenset[str], now: datetime, reason: str) -> None:
        known = dict(self._state.causes)
        ended = [cause for cause in known if cause in causes]
        if not ended:
            return
        self._set_causes({cause: state for cause, state in known.items() if cause not in causes})
        for cause in ended:
            self._record(now, "resume", cause, reason)

    def _set_causes(self, causes: dict[str, HaltState]) -> None:
        halt = HaltState.ACTIVE
        for state in causes.values():
            halt = worse(halt, state)
        self._state = replace(self._state, halt=halt, causes=tuple(causes.items()))

    def _count_order(self, now: datetime) -> None:
        recent = tuple(sent for sent in self._state.recent_orders if now - sent < ORDER_WINDOW)
        self._state = replace(
            self._state, recent_orders=(*recent, now), orders_this_session=self._state.orders_this_session + 1
        )

    def _record_decision(self, request: OrderRequest, decision: Decision) -> None:
        self.events.append(
            RiskEvent(
                ts=request.ts,
                kind="refused" if decision.verdict is Verdict.REFUSE else "shrunk",
                limit=decision.limit or "",
                state=self._state.halt.value,
                reason=decision.reason,
                symbol=request.symbol,
                limit_value=decision.limit_value,
                measured=decision.measured,
                quantity_requested=request.quantity,
                quantity_allowed=decision.quantity,
            )
        )

    def _record(
        self,
        now: datetime,
        kind: str,
        limit: str,
        reason: str,
        *,
        value: float | None = None,
        measured: float | None = None,
    ) -> None:
        state = self._state.halt.value
        self.events.append(RiskEvent(now, kind, limit, state, reason, limit_value=value, measured=measured))
