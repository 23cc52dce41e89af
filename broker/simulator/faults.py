"""Faults on demand: what goes wrong, when, how often.

Belongs here: rules and the decision whether one applies. Does not belong here: carrying it out (see `session`, `desk`).

Every choice comes from one seeded generator, so that a scripted run goes wrong in the same way each time.
"""

import difflib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from broker.simulator.answers import Message
from broker.simulator.errors import ControlError
from broker.simulator.requests import LAYOUTS, number

ANSWERS: Final[Mapping[str, int]] = {
    "tickPrice": 1, "tickSize": 2, "orderStatus": 3, "error": 4, "openOrder": 5, "accountValue": 6, "portfolio": 7,
    "accountTime": 8, "nextValidId": 9, "contractDetails": 10, "execDetails": 11, "managedAccounts": 15,
    "historicalData": 17, "tickGeneric": 45, "tickString": 46, "currentTime": 49, "realtimeBar": 50,
    "contractDetailsEnd": 52, "openOrderEnd": 53, "accountDownloadEnd": 54, "execDetailsEnd": 55,
    "tickSnapshotEnd": 57, "marketDataType": 58, "commissionReport": 59, "position": 61, "positionEnd": 62,
    "accountSummary": 63, "accountSummaryEnd": 64, "accountUpdateMulti": 73, "accountUpdateMultiEnd": 74,
    "headTimestamp": 88, "historicalDataUpdate": 90, "pnl": 94, "pnlSingle": 95, "tickByTick": 99, "orderBound": 100,
    "completedOrder": 101, "completedOrdersEnd": 102, "historicalSchedule": 106,
}  # fmt: skip
"""Answers that a rule can name; any other by its number."""

REQUESTS: Final = frozenset({"place_order", *(layout.name for layout in LAYOUTS.values())})
ON_ANSWER: Final = frozenset({"drop", "delay", "duplicate", "after", "close"})
ON_REQUEST: Final = frozenset({"swallow", "error", "empty", "close", "freeze", "fill", "partial"})


@dataclass(slots=True)
class Rule:
    """One fault. It waits until it has met `skip` messages, then strikes up to `times` of them.

    Attributes:
        action: on an answer drop, delay (`value` seconds), duplicate, after (sent behind the next answer `value`),
            close; on a request swallow, error (`code`, `text`), empty (history), close, freeze, fill (a cancel is
            too late), partial (`value` of an order is filled and the rest cancelled).
        answer: name or number of the answer it applies to.
        request: name of the request it applies to.
        modify: applies to changes of orders only, or to new orders only; to both when None.
    """

    action: str
    answer: str = ""
    request: str = ""
    value: str = ""
    code: int = 0
    text: str = "injected"
    times: int | None = None
    skip: int = 0
    probability: float = 1.0
    client: int | None = None
    order_ref: str | None = None
    modify: bool | None = None

    def __post_init__(self) -> None:
        allowed = ON_ANSWER if self.answer else ON_REQUEST
        if bool(self.answer) == bool(self.request):
            raise ControlError("fault: it needs either an answer or a request.")
        if self.action not in allowed:
            raise ControlError(f"action: {self.action!r} is not one of {', '.join(sorted(allowed))}.")
        if self.request and self.request not in REQUESTS:
            raise ControlError(f"request: {self.request!r} is not a request.{_close(self.request, REQUESTS)}")
        if self.answer:
            answer_id(self.answer)
        if self.action == "after":
            answer_id(self.value)
        if not 0 <= self.probability <= 1:
            raise ControlError(f"probability: {self.probability} is not between 0 and 1.")


def answer_id(name: str) -> int:
    """The number of an answer by name or number.

    Raises:
        ControlError: there is none of that name.
    """
    if name.isdecimal():
        return int(name)
    if name not in ANSWERS:
        raise ControlError(f"answer: {name!r} is not an answer.{_close(name, ANSWERS)}")
    return ANSWERS[name]


def _close(name: str, known: Mapping[str, int] | frozenset[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {found[0]}?" if found else ""


def rule_of(document: Mapping[str, Any]) -> Rule:
    """A rule from JSON.

    Raises:
        ControlError: a key is unknown or a value cannot be.
    """
    known = {f.name for f in fields(Rule)}
    unknown = sorted(set(document) - known)
    if unknown:
        raise ControlError(f"fault: {unknown[0]!r} is not one of {', '.join(sorted(known))}.")
    if "action" not in document:
        raise ControlError("fault: it needs an action.")
    values = dict(document)
    for name in ("answer", "value"):
        if name in values:
            values[name] = str(values[name])
    for name in ("code", "times", "skip", "client"):
        if values.get(name) is not None and type(values[name]) is not int:
            raise ControlError(f"{name}: {values[name]!r} is not a whole number.")
    if values["action"] in {"delay", "partial"}:
        number("value", values.get("value", ""))
    if type(values.get("probability", 1)) not in {int, float}:
        raise ControlError(f"probability: {values['probability']!r} is not a number.")
    return Rule(**values)


@dataclass(slots=True)
class Faults:
    """All faults that are on."""

    seed: int = 0
    rules: list[Rule] = field(default_factory=list)
    clock_skew: float = 0.0  # seconds that currentTime is wrong by
    execution_zone: str = ""  # of execution times, when not UTC
    pacing: bool = False
    frames: str = "whole"  # or "split", "coalesced"
    link_lost: bool = False  # TWS has lost IB: requests wait, nothing flows
    market_data: str = "live"  # what the account may see: or "delayed", "none"
    data_lost: bool = False  # a data farm is broken, or another session took the data
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 (a repeatable choice, no secret)

    def clear(self) -> None:
        """Turn every fault off."""
        self.rules.clear()
        self.clock_skew, self.execution_zone, self.pacing, self.frames = 0.0, "", False, "whole"
        self.link_lost, self.data_lost, self.market_data = False, False, "live"

    def of_answer(self, message: Message, client: int, order_ref: str | None) -> Rule | None:
        """The rule that strikes an answer."""
        for rule in self.rules:
            if rule.answer and answer_id(rule.answer) == message[0] and self._strikes(rule, client, order_ref):
                return rule
        return None

    def of_request(self, name: str, client: int, order_ref: str | None, *, modify: bool | None) -> Rule | None:
        """The rule that strikes a request."""
        for rule in self.rules:
            fits = rule.request == name and (rule.modify is None or rule.modify == modify)
            if fits and self._strikes(rule, client, order_ref):
                return rule
        return None

    def _strikes(self, rule: Rule, client: int, order_ref: str | None) -> bool:
        if rule.client not in {None, client} or rule.order_ref not in {None, order_ref}:
            return False
        if rule.skip > 0:
            rule.skip -= 1
            return False
        if rule.times == 0 or self._random.random() >= rule.probability:
            return False
        if rule.times is not None:
            rule.times -= 1
        return True
