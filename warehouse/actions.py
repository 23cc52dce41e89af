"""Corporate actions: found in the vendor's factors and in overlaps, never in the size of a move.

Belongs here: deriving the table of splits and dividends of a symbol. Does not belong here: applying it (cleaning).

A vendor's cumulative factor is piecewise constant; a step of it is an action. For any two neighbouring sessions
the newest batch that holds both decides. Factors are relative to the last bar: what a vendor knew of later actions
(a level that does not end at 1) is not an action of this series.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pyarrow as pa

from warehouse.calendar import TradingCalendar, get_calendar
from warehouse.merging import Merged, merge_batches
from warehouse.resolution import Resolution
from warehouse.scales import share_ratio
from warehouse.schema import ACTIONS_SCHEMA
from warehouse.stamping import Int64s, to_dates, to_timestamps
from warehouse.validation import Floats

SPLIT = "split"
DIVIDEND = "dividend"
BY_FACTOR = "factor"
BY_OVERLAP = "overlap"

_SMALLEST_STEP = 1e-7
_LARGEST_DIVIDEND_BESIDE_A_SPLIT = 0.05
_SPLIT_BOUND = (0.7, 1.4)  # a split beside a dividend is looked for only outside these


@dataclass(frozen=True, slots=True)
class Action:
    """One split or dividend; `ex_day` days since 1970, `fetched_at` microseconds."""

    ex_day: int
    kind: str
    ratio: float
    evidence: str
    source: str
    fetched_at: int


@dataclass(frozen=True, slots=True)
class ActionsSummary:
    """What `rebuild_actions` found."""

    symbol: str
    splits: int
    dividends: int
    changed: bool


class ActionsStore(Protocol):
    """What `rebuild_actions` needs of a warehouse."""

    def raw_batches(self, symbol: str, resolution: Resolution) -> list[pa.Table]:
        """Raw batches, ascending in `fetched_at`."""
        ...

    def write_actions(self, symbol: str, actions: pa.Table) -> bool:
        """Replace the actions; False when they are the same."""
        ...


def rebuild_actions(warehouse: ActionsStore, symbol: str, calendar: TradingCalendar | None = None) -> ActionsSummary:
    """Derive the corporate actions of a symbol from all its raw batches and store them.

    Args:
        warehouse: where raw batches are read and actions written.
        symbol: whose actions.
        calendar: sessions of its exchange; XNYS when left out.
    """
    exchange = calendar or get_calendar("XNYS")
    batches = {resolution: warehouse.raw_batches(symbol, resolution) for resolution in Resolution}
    table = derive_all_actions(symbol, batches, exchange)
    changed = warehouse.write_actions(symbol, table)
    kinds = table["kind"].to_pylist()
    return ActionsSummary(symbol, kinds.count(SPLIT), kinds.count(DIVIDEND), changed)


def derive_all_actions(symbol: str, batches: dict[Resolution, list[pa.Table]], calendar: TradingCalendar) -> pa.Table:
    """Actions (ACTIONS_SCHEMA, ascending) that batches of all resolutions show; coarser bars are believed first."""
    found: dict[tuple[int, str, str, str], Action] = {}
    for resolution, deliveries in batches.items():
        if deliveries:
            for action in derive_actions(merge_batches(deliveries, resolution, calendar)):
                found.setdefault((action.ex_day, action.kind, action.evidence, action.source), action)
    return _to_table(symbol, [found[key] for key in sorted(found)])


def derive_actions(merged: Merged) -> list[Action]:
    """Actions that one resolution's merged batches show, ascending in `ex_day`."""
    actions: list[Action] = []
    for number in range(len(merged.rows.fetched_at)):
        rows = merged.rows.sound_rows(number)
        if len(rows):
            actions = _overrule(actions, merged, number, rows)
    for change in merged.changes:
        kind = SPLIT if share_ratio(change.ratio) else DIVIDEND
        actions.append(Action(change.ex_day, kind, change.ratio, BY_OVERLAP, change.source, change.fetched_at))
    return sorted(actions, key=lambda a: (a.ex_day, a.kind))


def factors_for(sessions: Int64s, sources: list[str], actions: pa.Table) -> tuple[Floats, Floats]:
    """Split and dividend factor of each bar, 1 at the last one.

    Args:
        sessions: session of each bar, days since 1970, ascending.
        sources: vendor of each bar; an action counts only where the first bar on or after it came from the vendor
            that reported it, because another vendor's prices may be on another scale.
        actions: ACTIONS_SCHEMA; actions seen in overlaps are in the prices already and are left out.
    """
    factors = {SPLIT: np.ones(len(sessions)), DIVIDEND: np.ones(len(sessions))}
    days = actions["ex_date"].cast(pa.int32()).to_pylist()
    columns = (actions[name].to_pylist() for name in ("kind", "ratio", "evidence", "source"))
    for day, kind, ratio, evidence, source in zip(days, *columns, strict=True):
        first = int(np.searchsorted(sessions, day))
        if evidence == BY_FACTOR and first < len(sessions) and sources[first] == source:
            factors[kind][:first] *= ratio
    return factors[SPLIT], factors[DIVIDEND]


def _overrule(actions: list[Action], merged: Merged, number: int, rows: Int64s) -> list[Action]:
    """Actions after one more batch: inside its sessions it knows better than earlier batches."""
    seen, informed = _steps(merged, number, rows)
    source = merged.rows.sources[number]
    first, last = (int(merged.rows.placed.session[rows[i]]) for i in (0, -1))
    kept = [a for a in actions if not first < a.ex_day <= last or (a.source == source and not informed)]
    return kept + seen


def _steps(merged: Merged, number: int, rows: Int64s) -> tuple[list[Action], bool]:
    """Factor steps of one batch, and whether it carries factors at all."""
    table = merged.rows.table
    template = Action(0, "", 1.0, BY_FACTOR, merged.rows.sources[number], int(merged.rows.fetched_at[number]))
    sessions = merged.rows.placed.session[rows]
    split, dividend, adjusted = (
        _column(table, name, rows) for name in ("split_factor", "dividend_factor", "adj_close")
    )
    found: list[Action] = []
    informed = False
    for kind, factor in ((SPLIT, split), (DIVIDEND, dividend)):
        if np.isfinite(factor).all():
            informed = True
            steps = _find_steps(factor, np.full(len(factor), 1e-9))
            found += [replace(template, ex_day=int(sessions[i]), kind=kind, ratio=r) for i, r in steps]
    if not informed and np.isfinite(adjusted).all():
        informed = True
        closes = merged.rows.values.prices[rows, 3]
        error = _rounding_error(adjusted)
        for i, ratio in _find_steps(adjusted / closes, error):
            parts = _classify(ratio, float(error[i - 1] + error[i]))
            found += [replace(template, ex_day=int(sessions[i]), kind=k, ratio=r) for k, r in parts]
    return found, informed


def _find_steps(factor: Floats, error: Floats) -> list[tuple[int, float]]:
    """Position of the first bar after each step, and the ratio of the level before to the level after.

    `error` is the relative error of each factor; levels are medians, so that rounding averages out.
    """
    ratio = factor[:-1] / factor[1:]
    steps = np.flatnonzero(np.abs(ratio - 1) > error[:-1] + error[1:] + _SMALLEST_STEP) + 1
    levels = [float(np.median(part)) for part in np.split(factor, steps)]
    found = [(int(i), _significant(levels[k] / levels[k + 1])) for k, i in enumerate(steps)]
    return [(i, r) for i, r in found if abs(r - 1) > _SMALLEST_STEP]


def _significant(ratio: float) -> float:
    """A ratio without the noise of the last digits, which depends on how many bars one batch happened to hold."""
    return float(f"{ratio:.11g}")


def _rounding_error(values: Floats) -> Floats:
    """Relative rounding error of numbers that a vendor printed with a fixed count of decimals."""
    for decimals in range(2, 9):
        if np.allclose(np.round(values, decimals), values, rtol=1e-13, atol=1e-12):
            error: Floats = 0.51 * 10.0**-decimals / values
            return error
    return np.full(len(values), 1e-9)


def _classify(ratio: float, error: float) -> list[tuple[str, float]]:
    """A factor step, known to a relative error, as a split, a dividend, or both on one day."""
    exact = share_ratio(ratio, max(error, 1e-5))
    if exact is not None:
        return [(SPLIT, exact)]
    if not _SPLIT_BOUND[0] < ratio < _SPLIT_BOUND[1]:
        split = share_ratio(ratio, _LARGEST_DIVIDEND_BESIDE_A_SPLIT)
        if split is not None and ratio < split:
            return [(SPLIT, split), (DIVIDEND, ratio / split)]
    return [(DIVIDEND, ratio)]


def _column(table: pa.Table, name: str, rows: Int64s) -> Floats:
    numbers: Floats = table[name].fill_null(float("nan")).to_numpy()[rows]
    return numbers


def _to_table(symbol: str, actions: list[Action]) -> pa.Table:
    days = np.array([a.ex_day for a in actions], np.int64)
    fetched = np.array([a.fetched_at for a in actions], np.int64)
    return pa.table(
        [
            pa.array([symbol] * len(actions), pa.string()),
            to_dates(days),
            pa.array([a.kind for a in actions], pa.string()),
            pa.array([a.ratio for a in actions], pa.float64()),
            pa.array([a.evidence for a in actions], pa.string()),
            pa.array([a.source for a in actions], pa.string()),
            to_timestamps(fetched),
        ],
        schema=ACTIONS_SCHEMA,
    )
