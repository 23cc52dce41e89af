"""What is judged of a parity report.

Belongs here: names and what each says where it passes, for whoever declares them. Does not belong here: judging (see
`tolerance`), which takes a second to load.
"""

from collections.abc import Mapping

CHECKS: Mapping[str, str] = {
    "signals": "No signal was missed, late, or not the backtest's.",
    "missed_fills": "What was decided was filled live as in the backtest.",
    "price": "Live fills have the backtest's prices.",
    "costs": "The broker charged what the cost model charges.",
    "data_revision": "The warehouse's bars say the same as those that the session saw.",
    "total": "The live result is the backtest's.",
}
"""Name of each judgement and what it says where it passes, within the tolerances."""
