"""The commands of the control API: the clock, the market, faults.

Belongs here: what each command does. Does not belong here: HTTP (see `control`).
"""

import difflib
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from broker.simulator.desk import Desk
from broker.simulator.errors import ControlError
from broker.simulator.faults import rule_of
from broker.simulator.moments import datetime_of, moment_of
from broker.simulator.pace import Pace

Answer = dict[str, Any]

_MARKET_DATA = ("live", "delayed", "none")
_FRAMES = ("whole", "split", "coalesced")
_FARM_BROKEN = (
    (2103, "Market data farm connection is broken:usfarm"),
    (2105, "HMDS data farm connection is broken:ushmds"),
)
_FARM_OK = ((2104, "Market data farm connection is OK:usfarm"), (2106, "HMDS data farm connection is OK:ushmds"))


@dataclass(slots=True)
class Commands:
    """Everything that can be told to a running simulation. `refuse_for` closes the door for some seconds."""

    desk: Desk
    pace: Pace
    refuse_for: Callable[[float], None]

    async def run(self, name: str, arguments: Mapping[str, Any]) -> Answer:
        """Carry a command out.

        Raises:
            ControlError: there is no such command, or an argument is unknown or cannot be.
        """
        result = self._start(name, arguments)
        answer = await result if inspect.isawaitable(result) else result
        self.desk.publish()
        return answer

    def run_now(self, document: Mapping[str, Any]) -> None:
        """Carry out a scripted command, `{"command": name, ...}`.

        Raises:
            ControlError: as of `run`, or the command takes time.
        """
        arguments = {k: v for k, v in document.items() if k not in {"command", "at", "after_steps"}}
        result = self._start(str(document.get("command")), arguments)
        if inspect.iscoroutine(result):
            result.close()
            raise ControlError(f"command: {document.get('command')!r} cannot be scripted.")

    def _start(self, name: str, arguments: Mapping[str, Any]) -> Answer | Awaitable[Answer]:
        names = [n.removeprefix("do_") for n in dir(self) if n.startswith("do_")]
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean {close[0]}?" if close else f" The commands are {', '.join(names)}."
            raise ControlError(f"command: {name!r} is none.{hint}")
        for key, value in arguments.items():
            if isinstance(value, dict | list):
                raise ControlError(f"{key}: {value!r} is not a plain value.")
        method: Callable[..., Answer | Awaitable[Answer]] = getattr(self, f"do_{name}")
        try:
            inspect.signature(method).bind(**arguments)
        except TypeError as error:
            raise ControlError(f"{name}: {error}.") from None
        return method(**arguments)

    # ---------------------------------------------------------------- the clock

    def do_status(self) -> Answer:
        """Where the simulation stands."""
        exchange = self.desk.exchange
        figures = exchange.ledger.figures(self.desk.accounts.prices())
        return {
            "simulation": True,
            "account": exchange.account,
            "now": datetime_of(exchange.market.now).isoformat(),
            "clock": self.pace.mode.value,
            "speed": None if math.isinf(self.pace.speed) else self.pace.speed,
            "paused": self.pace.paused,
            "ended": self.pace.ended,
            "symbols": list(exchange.market.tape.symbols),
            "clients": sorted(self.desk.sessions),
            "prices": dict(exchange.market.prices()),
            "cash": str(exchange.ledger.cash),
            "net_liquidation": str(figures.net_liquidation),
            "fees": str(exchange.ledger.fees),
            "positions": {k: str(p.quantity) for k, p in exchange.ledger.positions.items() if p.quantity},
            "open_orders": len(exchange.book.waiting()),
            "faults": [asdict(rule) for rule in self.desk.faults.rules],
        }

    async def do_step(self, bars: int = 1) -> Answer:
        """Play bars at once."""
        done = await self.pace.step_bars(_count("bars", bars))
        return {"bars": done, "now": datetime_of(self.desk.exchange.market.now).isoformat()}

    async def do_step_price(self, prices: int = 1) -> Answer:
        """Play single prices at once."""
        done = await self.pace.step_knots(_count("prices", prices))
        return {"prices": done, "now": datetime_of(self.desk.exchange.market.now).isoformat()}

    def do_pause(self) -> Answer:
        """Stop the clock."""
        self.pace.paused = True
        return {"paused": True}

    def do_resume(self) -> Answer:
        """Let the clock go on."""
        self.pace.paused = False
        return {"paused": False}

    def do_speed(self, speed: float | str) -> Answer:
        """Set simulated seconds a second; "max" for as fast as possible."""
        value = math.inf if speed == "max" else float(_decimal("speed", speed))
        if not value > 0:
            raise ControlError(f"speed: {speed!r} is not above 0.")
        self.pace.speed = value
        return {"speed": speed}

    def do_seek(self, to: str) -> Answer:
        """Move the clock without trading what lies between."""
        exchange = self.desk.exchange
        exchange.market.seek(_moment("to", to))
        self.pace.ended = False
        self.pace.resync()
        exchange.drift(exchange.market.now)
        return {"now": datetime_of(exchange.market.now).isoformat()}

    # ---------------------------------------------------------------- the market

    def do_halt(self, symbol: str) -> Answer:
        """Halt trading in a symbol."""
        self.desk.exchange.market.halted.add(self._key(symbol))
        self.desk.data.tell_halt(self.desk.sessions.values(), symbol, halted=True)
        return {"halted": sorted(self.desk.exchange.market.halted)}

    def do_unhalt(self, symbol: str) -> Answer:
        """Let a symbol trade again."""
        self.desk.exchange.market.halted.discard(self._key(symbol))
        self.desk.data.tell_halt(self.desk.sessions.values(), symbol, halted=False)
        return {"halted": sorted(self.desk.exchange.market.halted)}

    def do_shortable(self, symbol: str, shortable: bool) -> Answer:
        """Say whether a symbol can be borrowed."""
        barred = self.desk.exchange.unshortable
        (barred.discard if shortable else barred.add)(self._key(symbol))
        return {"unshortable": sorted(barred)}

    def do_position(self, symbol: str, quantity: float | str) -> Answer:
        """Shares come into the account, or leave it, without an order."""
        self.desk.exchange.transfer(self._key(symbol), _decimal("quantity", quantity))
        return {"quantity": str(self.desk.exchange.ledger.quantity(symbol))}

    def do_manual_order(self, symbol: str, action: str, quantity: float | str, **fields: str) -> Answer:
        """An order as from the screen of TWS; further fields by the names of an order (`kind`, `limit`, `tif`)."""
        instrument = self.desk.exchange.instruments.by_key[self._key(symbol)]
        values = {"con_id": str(instrument.con_id), "action": action, "quantity": str(quantity), "kind": "MKT"}
        order = self.desk.exchange.place_by_hand({**values, **{k: str(v) for k, v in fields.items()}})
        if order is None:
            raise ControlError(f"manual_order: {action} {quantity} {symbol} was refused.")
        return {"perm_id": order.perm_id, "order_id": order.order_id}

    def do_correct(self, exec_id: str, price: float | str) -> Answer:
        """Correct the price of an execution; its id ends with the next number."""
        new = self.desk.exchange.correct(exec_id, _decimal("price", price))
        if new is None:
            raise ControlError(f"exec_id: there is no execution {exec_id!r}.")
        if self.desk.state is not None:
            self.desk.state.rewrite_executions(self.desk.exchange.executions)
        return {"exec_id": new.exec_id}

    def do_fill_cap(self, quantity: float | str | None = None) -> Answer:
        """Fill at most so much at a time, fractions too; without a quantity as the market allows."""
        self.desk.exchange.fraction_cap = None if quantity is None else _decimal("quantity", quantity)
        return {"fill_cap": quantity}

    # ---------------------------------------------------------------- faults

    def do_fault(self, **rule: Any) -> Answer:  # noqa: ANN401 (checked by the rule)
        """Add a rule; see `faults.Rule`."""
        self.desk.faults.rules.append(rule_of(rule))
        return {"faults": len(self.desk.faults.rules)}

    def do_clear_faults(self) -> Answer:
        """Turn every fault off."""
        self.desk.faults.clear()
        self.desk.resume_waiting()
        return {"faults": 0}

    def do_line(
        self,
        frames: str | None = None,
        pacing: bool | None = None,
        clock_skew: float | None = None,
        execution_zone: str | None = None,
        market_data: str | None = None,
    ) -> Answer:
        """How the line behaves: TCP frames, limits on requests, a wrong clock, an unknown time zone, permissions."""
        faults = self.desk.faults
        if market_data is not None and market_data not in _MARKET_DATA:
            raise ControlError(f"market_data: {market_data!r} is not one of {', '.join(_MARKET_DATA)}.")
        faults.market_data = faults.market_data if market_data is None else market_data
        if frames is not None and frames not in _FRAMES:
            raise ControlError(f"frames: {frames!r} is not one of {', '.join(_FRAMES)}.")
        faults.frames = faults.frames if frames is None else frames
        faults.pacing = faults.pacing if pacing is None else pacing
        faults.clock_skew = faults.clock_skew if clock_skew is None else float(_decimal("clock_skew", clock_skew))
        faults.execution_zone = faults.execution_zone if execution_zone is None else execution_zone
        return {"frames": faults.frames, "pacing": faults.pacing, "clock_skew": faults.clock_skew}

    def do_error(self, code: int, text: str = "injected", req_id: int = -1, client: int | None = None) -> Answer:
        """Send an error to all clients, or one."""
        _count("code", code)
        wanted = [s for s in self.desk.sessions.values() if client in {None, s.client_id}]
        for session in wanted:
            session.refuse(req_id, code, text)
        return {"clients": len(wanted)}

    def do_link(self, state: str) -> Answer:
        """The link of TWS to IB: `lost` (1100), `restored` (1102), `restored_without_data` (1101)."""
        faults = self.desk.faults
        if state == "lost":
            faults.link_lost = True
            self.desk.tell_all(1100, "Connectivity between IB and Trader Workstation has been lost.")
        elif state in {"restored", "restored_without_data"}:
            faults.link_lost = False
            lost = state != "restored"
            for session in self.desk.sessions.values() if lost else ():
                session.subscriptions.drop_data()
            code, words = (1101, "data lost") if lost else (1102, "data maintained")
            self.desk.tell_all(code, f"Connectivity between IB and Trader Workstation has been restored - {words}.")
            self.desk.resume_waiting()
        else:
            raise ControlError(f"state: {state!r} is not one of lost, restored, restored_without_data.")
        return {"link_lost": faults.link_lost}

    def do_farm(self, state: str) -> Answer:
        """The data farms: `broken` (2103, 2105), `ok` (2104, 2106)."""
        if state not in {"broken", "ok"}:
            raise ControlError(f"state: {state!r} is not one of broken, ok.")
        self.desk.faults.data_lost = state == "broken"
        for code, text in _FARM_BROKEN if state == "broken" else _FARM_OK:
            self.desk.tell_all(code, text)
        return {"data_lost": self.desk.faults.data_lost}

    def do_competing_session(self, active: bool = True) -> Answer:
        """Another session takes the market data (10197), or gives it back."""
        self.desk.faults.data_lost = active
        for session in self.desk.sessions.values() if active else ():
            for req_id in (*session.subscriptions.ticks, *session.subscriptions.bars):
                session.refuse(req_id, 10197, "No market data during competing live session")
        return {"data_lost": active}

    def do_end_stream(self, client: int, req_id: int, code: int = 10225, text: str = "injected") -> Answer:
        """End a subscription as IB does with 10182, 10225 or 366: an error, and nothing flows any more."""
        session = self._session(client)
        for kind in (n for n in ("ticks", "bars", "forming", "single") if req_id in getattr(session.subscriptions, n)):
            getattr(session.subscriptions, kind).pop(req_id)
            session.refuse(req_id, code, text)
            return {"ended": kind}
        raise ControlError(f"req_id: client {client} has no data subscription {req_id!r}.")

    def do_freeze(self, client: int) -> Answer:
        """A half-open connection: nothing is read or written any more, and nobody hangs up."""
        self._session(client).frozen = True
        return {"frozen": client}

    def do_disconnect(self, client: int) -> Answer:
        """Hang up on a client."""
        self._session(client).close()
        return {"disconnected": client}

    def do_restart(self, lose_executions: bool = False, down_seconds: float = 0.0) -> Answer:
        """Hang up on everybody, as a gateway that restarts; orders stay, executions only if they are not lost."""
        for session in list(self.desk.sessions.values()):
            session.close()
        exchange = self.desk.exchange
        if lose_executions:
            exchange.executions.clear()
            if self.desk.state is not None:
                self.desk.state.rewrite_executions(())
        self.refuse_for(float(_decimal("down_seconds", down_seconds)))
        return {"executions": len(exchange.executions)}

    # ---------------------------------------------------------------- arguments

    def _key(self, symbol: str) -> str:
        if symbol not in self.desk.exchange.instruments.by_key:
            raise ControlError(f"symbol: {symbol!r} is not traded here.")
        return symbol

    def _session(self, client: int) -> Any:  # noqa: ANN401
        if client not in self.desk.sessions:
            raise ControlError(f"client: {client!r} is not connected.")
        return self.desk.sessions[client]


def _decimal(name: str, value: float | str) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise ControlError(f"{name}: {value!r} is not a number.")
    return number


def _count(name: str, value: int) -> int:
    if not isinstance(value, int) or value < 0:
        raise ControlError(f"{name}: {value!r} is not a whole number from 0.")
    return value


def _moment(name: str, text: str) -> int:
    try:
        when = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ControlError(f"{name}: {text!r} is not a time like 2024-01-31T15:00:00+00:00.") from None
    if when.tzinfo is None:
        raise ControlError(f"{name}: {text!r} has no time zone.")
    return moment_of(when)
