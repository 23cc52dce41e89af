"""What is known about the best trial of a study beyond its value: the runs that an assessment needs.

Belongs here: running the best parameters as they are, dearer, later and from other days; the numbers that come of it.
Does not belong here: statistics over them (see `research.overfitting`), judging, keeping (see `research.assessment`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from research.daily import daily_returns, session_closes
from research.engine import PreparedRun, replay
from research.run_output import RunOutput
from research.sensitivity import Measure, Variant, with_costs, with_delay, with_other_starts
from research.study.trial import figures, with_params

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The best trial, looked at from all sides.

    Attributes:
        figures: of its run, by the names of `research.metric_catalog`.
        value: the objective of its run.
        daily: simple returns a session.
        trades: net profit of each closed trade, as a fraction of the equity before it.
        variants: the same parameters under other circumstances.
    """

    figures: Mapping[str, float | None]
    value: float | None
    daily: Floats
    trades: Floats
    variants: tuple[Variant, ...]

    def of_kind(self, kind: str) -> dict[int, float | None]:
        """Values of one kind of variant by amount."""
        return {one.amount: one.value for one in self.variants if one.kind == kind}

    def page(self) -> dict[str, Any]:
        """Figures and variants as plain JSON types."""
        return {
            "figures": dict(self.figures),
            "value": self.value,
            "variants": [asdict(one) for one in self.variants],
        }


def gather(prepared: PreparedRun, params: Mapping[str, Any], measure: Measure, *, seed: int = 0) -> Evidence:
    """Run the best parameters; fourteen runs in all.

    Args:
        prepared: the experiment on the range that was searched.
        params: the best trial's, complete.
        measure: the objective of a run.
        seed: chooses the other starts.
    """
    best = with_params(prepared, params)
    output = replay(best)
    variants = (
        *with_costs(best, measure),
        with_delay(best, measure),
        *with_other_starts(best, measure, seed=seed),
    )
    daily = daily_returns(session_closes(output.equity), output.starting_cash).to_numpy()
    return Evidence(figures(best.experiment, output), measure(output), daily, trade_returns(output), variants)


def trade_returns(output: RunOutput) -> Floats:
    """Net profit of each closed trade over the equity at its entry's bar, in the order of their exits."""
    ts = output.equity["ts"].cast("int64").to_numpy()
    equity = output.equity["equity"].to_numpy()
    entries = output.trades["entry_ts"].cast("int64").to_numpy()
    exits = output.trades["exit_ts"].cast("int64").to_numpy()
    at = np.searchsorted(ts, entries, side="left") - 1  # the last close before the entry
    before = np.where(at >= 0, equity[np.maximum(at, 0)], output.starting_cash)
    returns = output.trades["net_profit"].to_numpy() / before
    ordered: Floats = returns[np.argsort(exits, kind="stable")]
    return ordered
