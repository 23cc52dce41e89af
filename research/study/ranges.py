"""Ranges of parameters as a person writes them: `sma_short:10-30,sma_long:40-80:5,rebalance:week|month`.

Belongs here: the text. Does not belong here: whether a strategy has such a parameter (see `grid`).
"""

import re
from decimal import Decimal

from research.errors import StudyError

_NUMBER = r"-?\d+(?:\.\d+)?"
_RANGE = re.compile(rf"({_NUMBER})-({_NUMBER})(?::({_NUMBER}))?")
_MOST = 100_000

Value = int | float | bool | str


def parse_ranges(text: str) -> dict[str, tuple[Value, ...]]:
    """The values of each parameter, in the order in which they are written.

    `low-high` holds both ends in steps of one, `low-high:step` in steps of `step`, `a|b|c` these values.

    Raises:
        StudyError: a part is no range.

    >>> parse_ranges("sma_short:5-7,sma_long:40-50:5")
    {'sma_short': (5, 6, 7), 'sma_long': (40, 45, 50)}
    """
    space: dict[str, tuple[Value, ...]] = {}
    for part in text.split(","):
        name, colon, values = part.strip().partition(":")
        if not colon or not name.isidentifier() or not values:
            raise StudyError(f"param-ranges: {part.strip()!r} is not of the form name:low-high.")
        if name in space:
            raise StudyError(f"param-ranges: {name} is given twice.")
        space[name] = _values(name, values.strip())
    return space


def _values(name: str, text: str) -> tuple[Value, ...]:
    found = _RANGE.fullmatch(text)
    if found is None:
        values = tuple(_value(one.strip()) for one in text.split("|"))
        if not all(values != "" for values in values) or len(set(values)) < len(values):
            raise StudyError(
                f"param-ranges: {name}: {text!r} is neither a range such as 10-30 nor values such as 5|10."
            )
        return values
    low, high, step = (Decimal(number) for number in (found[1], found[2], found[3] or "1"))
    if high < low or step <= 0:
        raise StudyError(f"param-ranges: {name}: {text!r} holds no value.")
    count = int((high - low) / step) + 1
    if count > _MOST:
        raise StudyError(f"param-ranges: {name}: {text!r} holds {count} values, more than {_MOST}.")
    whole = all(number == number.to_integral_value() for number in (low, step))
    return tuple(int(low + step * at) if whole else float(low + step * at) for at in range(count))


def _value(text: str) -> Value:
    if text in {"true", "false"}:
        return text == "true"
    if not re.fullmatch(_NUMBER, text):
        return text
    return float(text) if "." in text else int(text)
