"""Proof that a strategy's decisions do not depend on bars it could not have seen.

Belongs here: replaying an experiment on histories that end early and comparing what was decided until then. Does not
belong here: judging a strategy in any other way.

A strategy that sees only closed bars decides the same up to a moment whether or not history goes on after it. So the
experiment is run once on everything and again on histories cut at several bars; orders, fills and equity up to each cut
must be equal. Where to cut decides what is found:

- Half of the sampled cuts fall on bars at which the full run submitted an order: a strategy that peeks a single bar
  decided there by a bar that the cut takes away.
- One more replay loads bars one at a time, so that a look at the future finds nothing at any bar. Where it decides
  otherwise, or breaks, a cut is added. It is no proof by itself: indicators computed bar by bar may differ in the
  last bit from those computed at once.
- Before every symbol has the bars that the indicators need, a shorter history would break them; there the future is
  not taken away but changed, once down and once up.
- What a strategy declares is compared by itself: at each cut, every value up to it must be what the whole history
  gives, whether or not it led to an order.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research.engine import Engine, PreparedRun, Rig, prepare_run, replay
from research.errors import ExperimentError
from research.experiment import Experiment
from research.feed import Integers, SymbolBars, union_of_times
from research.run_output import RunOutput
from strategies.base_strategy import is_declared
from strategies.declaration import Signals, declare
from strategies.errors import StrategyError

_DECIDED = ("ts", "symbol", "side", "kind", "quantity_requested", "quantity", "price", "limit_price")
_DECLARED = ("long_entry", "short_entry", "long_exit", "short_exit", "stop", "trail", "take_profit")
_SUSPECTS = 3
_FUTURES = (0.5, 2.0)
_BREAKS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class LookaheadFinding:
    """The first thing that came out differently at one cut."""

    cut: datetime  # UTC close of the last bar that was left as it is
    what: str  # "signals" | "orders" | "fills" | "equity" | "error"
    detail: str  # one sentence


@dataclass(frozen=True, slots=True)
class LookaheadReport:
    """What the replays showed. `cuts` are UTC, `cuts_on_decisions` how many of the sampled ones lie on decisions."""

    cuts: tuple[datetime, ...]
    cuts_on_decisions: int
    findings: tuple[LookaheadFinding, ...]

    @property
    def clean(self) -> bool:
        """True when every replay decided as the full run did."""
        return not self.findings


def check_lookahead(
    experiment: Experiment,
    bars: Mapping[str, pa.Table],
    *,
    cuts: int = 12,
    seed: int = 0,
    engine: Engine = Engine.AUTO,
) -> LookaheadReport:
    """Replay an experiment on shortened histories, `cuts` sampled and a few suspected ones, and compare all decisions.

    Raises:
        ExperimentError: `cuts` is not positive, the experiment itself is wrong, or the engine cannot run it.
        BarsError: a symbol has no usable bars in the range.
    """
    if cuts < 1:
        raise ExperimentError(f"cuts: {cuts} must be at least 1.")
    prepared = prepare_run(experiment, bars)
    full = replay(prepared, engine=engine)
    sampled, on_decisions = _cut_moments(prepared, full, cuts, seed)
    moments = sorted({*sampled, *_suspected(prepared, full)})
    declaration = _Declaration(prepared) if is_declared(prepared.strategy) else None
    findings = []
    for moment in moments:
        finding = declaration.compare_at(moment) if declaration else None
        finding = finding or _compare_at(prepared, full, moment, engine)
        if finding is not None:
            findings.append(finding)
    return LookaheadReport(tuple(_utc(moment) for moment in moments), on_decisions, tuple(findings))


class _Declaration:
    """What a strategy declares on the whole history, to be compared with what it declares on a part of it."""

    def __init__(self, prepared: PreparedRun) -> None:
        self._prepared = prepared
        self._whole = {symbol: self._declare(bars) for symbol, bars in prepared.bars.items()}

    def compare_at(self, moment: int) -> LookaheadFinding | None:
        """The first value up to a moment that is another one when history ends there, or None."""
        for symbol, bars in self._prepared.bars.items():
            head = bars.head(moment)
            if not len(head):
                continue
            cut = _utc(moment)
            try:
                short = self._declare(head)
            except (*_BREAKS, StrategyError) as error:
                detail = f"on the history up to {cut} the declaration of {symbol} broke with {_told(error)}"
                return LookaheadFinding(cut, "error", detail)
            differs = _difference_declared(short, self._whole[symbol], bars.ts[: len(head)])
            if differs is not None:
                what, seen, expected = differs
                detail = f"on the history up to {cut} {what} of {symbol} is {seen}, on the whole history {expected}"
                return LookaheadFinding(cut, "signals", detail)
        return None

    def _declare(self, bars: SymbolBars) -> Signals:
        strategy: Any = self._prepared.strategy
        return declare(strategy, bars.closed(), SimpleNamespace(**self._prepared.params))


def _difference_declared(short: Signals, whole: Signals, ts: Integers) -> tuple[str, object, object] | None:
    """What is declared otherwise at the bars of these moments, with both values: the first such thing, or None."""
    begins, expected_begins = (min(max(signals.ready, 0), len(ts)) for signals in (short, whole))
    if begins != expected_begins:
        return "ready", short.ready, whole.ready
    if short.exits_first != whole.exits_first:
        return "exits_first", short.exits_first, whole.exits_first
    for name in _DECLARED:
        seen, expected = getattr(short, name), getattr(whole, name)
        if (seen is None) != (expected is None):
            return name, _whether(seen), _whether(expected)
        if seen is None:
            continue
        differ = begins + _differ(seen[begins:], expected[begins : len(ts)])
        if len(differ):
            row = int(differ[0])
            return f"{name} at {_utc(int(ts[row]))}", seen[row], expected[row]
    return None


def _whether(declared: object) -> str:
    return "not given" if declared is None else "given"


def _differ(seen: npt.NDArray[Any], expected: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    same = (seen == expected) | ((seen != seen) & (expected != expected))  # noqa: PLR0124 (NaN equals NaN here)
    return np.flatnonzero(~same)


def _suspected(prepared: PreparedRun, full: RunOutput) -> list[int]:
    """The first moments at which a run that loads bars one at a time decides otherwise, or breaks."""
    rig = Rig(prepared, bar_by_bar=True)
    try:
        streamed = rig.run()
    except _BREAKS:
        return [rig.reached] if rig.reached is not None and rig.reached < _last(full) else []
    expected, seen = _rows_by_moment(full), _rows_by_moment(streamed)
    different = (moment for moment in sorted({*expected, *seen}) if expected.get(moment) != seen.get(moment))
    return [moment for moment in islice(different, _SUSPECTS) if moment < _last(full)]


def _rows_by_moment(output: RunOutput) -> dict[int, list[dict[str, object]]]:
    rows: dict[int, list[dict[str, object]]] = {}
    for row in output.orders.select(list(_DECIDED)).to_pylist():
        rows.setdefault(_microseconds(row["ts"]), []).append(row)
    return rows


def _warm(output: RunOutput) -> int:
    """When every symbol had the bars that the indicators need; the end when that never was."""
    return _last(output) if output.warmed_up is None else _microseconds(output.warmed_up)


def _last(output: RunOutput) -> int:
    return _microseconds(output.equity["ts"][-1].as_py())


def _cut_moments(prepared: PreparedRun, full: RunOutput, cuts: int, seed: int) -> tuple[list[int], int]:
    """Where to cut, ascending, and how many of the cuts lie on decisions.

    At least one bar lies after a cut; none is made before the strategy can decide anything.
    """
    clock = union_of_times(list(prepared.bars.values()))
    decided = _decisions(full)
    begins = min([_warm(full), *decided[:1].tolist()])
    possible = clock[(clock >= begins) & (clock < clock[-1])]
    generator = random.Random(seed)  # noqa: S311 (a sample, not a secret)
    on_decisions = _sample(generator, np.intersect1d(decided, possible), (cuts + 1) // 2)
    others = _sample(generator, np.setdiff1d(possible, on_decisions), cuts - len(on_decisions))
    return sorted({*on_decisions, *others}), len(on_decisions)


def _decisions(full: RunOutput) -> Integers:
    moments: Integers = np.unique(full.orders["ts"].cast(pa.int64()).to_numpy())
    return moments


def _sample(generator: random.Random, moments: Integers, count: int) -> list[int]:
    return generator.sample(moments.tolist(), min(count, len(moments)))


def _compare_at(prepared: PreparedRun, full: RunOutput, moment: int, engine: Engine) -> LookaheadFinding | None:
    """The first difference between the full run and one on the history up to a moment, or None."""
    for history in _histories(prepared, full, moment):
        finding = _compare_on(history, full, moment, engine)
        if finding is not None:
            return finding
    return None


def _histories(prepared: PreparedRun, full: RunOutput, moment: int) -> Iterator[PreparedRun]:
    """Runs whose bars up to a moment are the original ones, and none or others after it."""
    bars = prepared.bars
    if moment >= _warm(full):
        yield replace(prepared, bars={symbol: series.head(moment) for symbol, series in bars.items()})
        return
    for factor in _FUTURES:
        yield replace(prepared, bars={symbol: series.with_future(moment, factor) for symbol, series in bars.items()})


def _compare_on(history: PreparedRun, full: RunOutput, moment: int, engine: Engine) -> LookaheadFinding | None:
    cut = _utc(moment)
    try:
        short = replay(history, engine=engine)
    except _BREAKS as error:
        detail = f"on the history up to {cut} the strategy broke with {_told(error)}"
        return LookaheadFinding(cut, "error", detail)
    for what, columns in (("orders", _DECIDED), ("fills", None), ("equity", None)):
        expected, seen = _until(getattr(full, what), moment, columns), _until(getattr(short, what), moment, columns)
        if not expected.equals(seen):
            return LookaheadFinding(cut, what, f"on the history up to {cut} {_difference(what, expected, seen)}")
    return None


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _until(table: pa.Table, moment: int, columns: Sequence[str] | None) -> pa.Table:
    rows = table.filter(pc.less_equal(table["ts"].cast(pa.int64()), moment))
    return (rows.select(list(columns)) if columns else rows).combine_chunks()


def _difference(what: str, expected: pa.Table, seen: pa.Table) -> str:
    """The first row that differs, in words."""
    for row in range(min(expected.num_rows, seen.num_rows)):
        full, short = expected.slice(row, 1).to_pylist()[0], seen.slice(row, 1).to_pylist()[0]
        for name in full:
            if full[name] != short[name]:
                return f"{what} of {full['ts']} have {name} {short[name]!r}, on the whole history {full[name]!r}"
    longer = expected if expected.num_rows > seen.num_rows else seen
    row = min(expected.num_rows, seen.num_rows)
    owner = "only the whole history has" if longer is expected else "there are more than on the whole history:"
    first = longer.slice(row, 1).to_pylist()[0]
    return f"{owner} {what} at {first['ts']} ({', '.join(f'{k}={v}' for k, v in first.items() if k != 'ts')})"


def _microseconds(moment: datetime) -> int:
    return int(pa.scalar(moment, pa.timestamp("us", tz="UTC")).cast(pa.int64()).as_py())


def _utc(moment: int) -> datetime:
    stamp: datetime = pa.scalar(moment, pa.timestamp("us", tz="UTC")).as_py()
    return stamp
