"""One screen for a deployment.

Belongs here: drawing what `broker.deployment.standing` knows. Does not belong here: finding it out.
"""

import math
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from broker.deployment.standing import Standing
    from risk.headroom import Headroom

_BAR: Final = 10
_NARROWEST, _PIPE_WIDTH = 60, 120
_FRACTIONS: Final = frozenset(
    {"max_position_fraction", "max_gross_exposure", "max_net_exposure", "max_daily_loss_fraction", "max_drawdown"}
)
_MONEY: Final = frozenset({"max_position_value", "max_daily_loss"})
_NAMES: Final[Mapping[str, str]] = {"max_daily_loss_fraction": "daily loss", "max_position_fraction": "position"}


def show(standing: "Standing") -> None:
    """Print a deployment's screen; where no terminal sets a width, 120 columns."""
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        console = Console(file=sys.stdout, width=_PIPE_WIDTH)
    width = max(min(console.width, _PIPE_WIDTH), _NARROWEST)
    console.print(_header(standing, width))
    grid = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True, min_width=9)
    grid.add_column(overflow="fold")
    for name, value in _rows(standing):
        grid.add_row(name, value)
    console.print(grid, width=width)


def _header(standing: "Standing", width: int) -> Text:
    """The name on the left, the account on the right, and a line under them."""
    right = f"{standing.mode}, account {standing.account}"
    name = standing.deployment
    if standing.experiment != name:
        name += f" ({standing.experiment})"
    gap = " " * max(width - len(name) - len(right), 2)
    rule = "─" * width
    return Text.assemble(
        (name, "bold"), gap, (right, "bold red" if standing.mode == "live" else ""), "\n", (rule, "dim")
    )


def _rows(standing: "Standing") -> Iterator[tuple[str, Text | Table]]:
    yield "state", _state(standing)
    yield "wanted", _wanted(standing)
    yield "session", Text(_session(standing))
    yield "equity", _equity(standing)
    yield "traded", Text(f"{_count(standing.fills, 'fill')}, commission {standing.commission:,.2f}")
    yield "positions", Text("\n".join(_positions(standing)) or "none")
    yield "orders", Text("\n".join(standing.orders) or "none")
    yield "risk", Text("unknown") if standing.halt is None else _coloured(standing.halt, good=standing.halt == "ACTIVE")
    if standing.room:
        yield "", _room(standing.room)
    yield "alarm", Text("none") if standing.alarm is None else _alarm(standing)


def _wanted(standing: "Standing") -> Text:
    """What is wanted, and whether somebody starts its sessions."""
    text = Text(standing.wanted, "" if standing.wanted == "on" else "yellow")
    if standing.health == "nobody supervises it":
        since = "" if standing.supervised is None else f" for {_age(standing.supervised)}"
        return text.append(f", not supervised{since}: `barloom ui` starts its sessions", "bold red")
    return text if standing.supervised is None else text.append(f", supervised {_age(standing.supervised)} ago")


def _state(standing: "Standing") -> Text:
    if standing.holder is None and standing.health != "no sign of life":
        return Text("nobody trades it now")
    state = standing.state or "nothing was said yet"
    beaten = "no heartbeat" if standing.beaten is None else f"heartbeat {_age(standing.beaten)} ago"
    if standing.health == "no sign of life":
        return Text(f"{standing.health.upper()}: {beaten}, {standing.holder or 'nobody holds the account'}", "bold red")
    return Text.assemble(_coloured(state, good=state.startswith("READY")), f", {beaten}")


def _session(standing: "Standing") -> str:
    if standing.session is None:
        return "none yet"
    who = "going on, or killed" if standing.ended is None else standing.ended
    if standing.holder is not None and standing.ended is None:
        who = standing.holder.partition(" since ")[0]
    return f"{standing.session}, run {standing.run}, {who}"


def _equity(standing: "Standing") -> Text:
    if standing.equity is None:
        return Text("unknown")
    text = Text(f"{standing.equity:,.2f} {standing.currency}")
    for name, change in (("this session", standing.day_profit), ("since switched on", standing.profit)):
        if change is not None:
            text.append(f"   {name} ").append(f"{change:+,.2f}", "red" if change < 0 else "green" if change > 0 else "")
    return text


def _positions(standing: "Standing") -> Iterator[str]:
    for held in standing.holdings:
        if math.isnan(held.price):
            yield f"{held.quantity:,g} {held.symbol}"
        else:
            yield f"{held.quantity:,g} {held.symbol} at {held.price:,.2f} = {held.quantity * held.price:,.2f}"


def _room(room: "tuple[Headroom, ...]") -> Table:
    """A line for each limit: how much of it is used, and what is left."""
    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    sides: tuple[Literal["left", "right"], ...] = ("left", "left", "right", "right", "left")
    for justify in sides:
        table.add_column(justify=justify, no_wrap=True)
    for one in room:
        left, most = _figure(one.limit, one.left), _figure(one.limit, one.most)
        table.add_row(_name(one), _bar(one), left, f"left of {most}", one.symbol or "")
    return table


def _name(one: "Headroom") -> str:
    return _NAMES.get(one.limit, one.limit.removeprefix("max_").replace("_", " "))


def _bar(one: "Headroom") -> Text:
    if math.isnan(one.used):
        return Text("?" * _BAR, "yellow")
    share = min(one.used / one.most, 1.0)
    filled = math.ceil(share * _BAR)
    style = "red" if share > 0.85 else "yellow" if share > 0.6 else "green"
    return Text.assemble(("█" * filled, style), ("░" * (_BAR - filled), "dim"))


def _figure(limit: str, number: float) -> str:
    if math.isnan(number):
        return "unknown"
    if limit in _FRACTIONS:
        return f"{number:.2%}".replace("%", " %")
    return f"{number:,.2f}" if limit in _MONEY else f"{number:,g}"


def _alarm(standing: "Standing") -> Text:
    alarm = standing.alarm
    assert alarm is not None  # noqa: S101 (asked before)
    return Text(f"{alarm.ts:%Y-%m-%d %H:%M:%S} {alarm.code}: {alarm.text}")


def _coloured(text: str, *, good: bool) -> Text:
    return Text(text, "green" if good else "bold red")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _age(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads well."""
    for length, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"
