"""The assessment of a finished study: every statistic on it, judged and kept in its page.

Belongs here: which figure of the material goes into which statistic and check, keeping the outcome. Does not belong
here: formulas (see `honesty`), thresholds and sentences (see `verdict`), reading the study (see `material`).

The same record, bars and seed give the same assessment. Two thousand trials of 3,270 sessions take about ten seconds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from research import honesty
from research.material import Material, material_of
from research.result import without_nan
from research.study.records import StudyRecord, save_assessment
from research.verdict import Finding, Severity, Thresholds, judge

_BLOCK = 10.0  # sessions: returns of half a month stay together when they are drawn again
_FEWEST_TRADES = 10


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the statistics say about a study.

    Attributes:
        study: its name.
        findings: one a check.
        statistics: everything that was measured, plain JSON types, null where unknown.
        page: findings, statistics, thresholds and when: as it is kept.
    """

    study: str
    findings: tuple[Finding, ...]
    statistics: Mapping[str, Any]
    page: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """Whether nothing stands in the way of a promotion."""
        return not any(
            one.severity is Severity.ERROR or (one.severity is Severity.UNKNOWN and one.blocking)
            for one in self.findings
        )


def assess(
    record: StudyRecord,
    bars: Mapping[str, pa.Table],
    *,
    thresholds: Thresholds | None = None,
    seed: int = 0,
    now: datetime | None = None,
) -> Assessment:
    """Compute all statistics of a study, judge them, and keep both under `assessment` in its page.

    Args:
        record: the study; its folder tells where results are.
        bars: BARS_SCHEMA by symbol, as the study had them.
        thresholds: when a figure warns or fails.
        seed: of everything that is drawn.
        now: for the page, UTC; the clock's time when not given.

    Raises:
        StudyError: no trial has a value, or daily returns were not kept.
    """
    limits = thresholds or Thresholds()
    material = material_of(record, bars, seed=seed)
    statistics = statistics_of(material, seed)
    remarks = {"hold_out": material.hold_out_remark} if material.hold_out_remark else {}
    findings = judge(_measured(material, statistics), limits, remarks)
    reasons: dict[str, str] = {}
    page = without_nan(
        {
            "made_at": (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
            "seed": seed,
            "trials_run": material.tried,
            "findings": [one.page() for one in findings],
            "statistics": statistics,
            "thresholds": limits.model_dump(mode="json"),
        },
        "",
        reasons,
    )
    save_assessment(record.folder.parent.parent, record.name, page)
    return Assessment(record.name, findings, page["statistics"], page)


def statistics_of(material: Material, seed: int = 0) -> dict[str, Any]:
    """Every statistic of a study."""
    daily, year = material.evidence.daily, material.annualization
    ratio = float(honesty.sharpe(daily))
    skew, kurtosis = honesty.moments(daily)
    ratios = honesty.sharpe(material.returns)
    variance = float(ratios.var(ddof=1)) if len(ratios) > 1 else 0.0
    luck = honesty.expected_best_sharpe(material.tried_ever, variance)
    effective = honesty.effective_trials(material.returns, seed)
    luck_effective = honesty.expected_best_sharpe(effective, variance)
    shape = (len(daily), skew, kurtosis)
    needed = honesty.minimum_track_record(ratio, 0.0, skew, kurtosis)
    return {
        "sharpe_ratio": ratio * math.sqrt(year),
        "skewness": skew,
        "kurtosis": kurtosis,
        "sessions": len(daily),
        "trials": material.tried,
        "trials_with_returns": len(material.numbers),
        "trials_on_symbols": material.tried_ever,
        "effective_trials": effective,
        "expected_best_sharpe": luck * math.sqrt(year),
        "probabilistic_sharpe_ratio": honesty.probabilistic_sharpe(ratio, 0.0, *shape),
        "deflated_sharpe_ratio": honesty.probabilistic_sharpe(ratio, luck, *shape),
        "deflated_sharpe_ratio_effective": honesty.probabilistic_sharpe(ratio, luck_effective, *shape),
        "minimum_track_record": needed,
        "probability_of_backtest_overfitting": honesty.overfitting_probability(material.returns),
        "superior_ability": honesty.superior_ability(material.returns, block=_BLOCK, seed=seed),
        "monte_carlo_trades": _drawn(material.evidence.trades, 1.0, seed),
        "monte_carlo_returns": _drawn(daily, _BLOCK, seed),
        "neighbours": honesty.neighbours(material.params, material.values, material.best).tolist(),
        "best": material.evidence.page(),
        "hold_out": None if material.hold_out is None else dict(material.hold_out),
        "walk_forward": _walk_forward(material),
    }


def _drawn(returns: honesty.Floats, block: float, seed: int) -> dict[str, float] | None:
    return honesty.resampled(returns, block=block, seed=seed) if len(returns) >= _FEWEST_TRADES else None


def _walk_forward(material: Material) -> dict[str, Any] | None:
    found = material.walk_forward
    if found is None:
        return None
    return {"summary": dict(found.summary), "metrics": dict(found.metrics), "drift": found.page.get("drift")}


def _measured(material: Material, statistics: Mapping[str, Any]) -> dict[str, float | None]:
    """The figure of each check."""
    evidence = material.evidence
    costs, delays, starts = (evidence.of_kind(kind) for kind in ("costs", "delay", "start"))
    drawn, walk = statistics["monte_carlo_trades"], statistics["walk_forward"]
    needed = statistics["minimum_track_record"]
    others = statistics["neighbours"]
    drift = [one["change"] for one in (walk or {}).get("drift") or {}.values() if one["change"] is not None]
    hold_out = None if material.hold_out is None else material.hold_out.get("objective")
    return {
        "trades": evidence.figures.get("trades"),
        "deflated_sharpe_ratio": statistics["deflated_sharpe_ratio"],
        "overfitting_probability": statistics["probability_of_backtest_overfitting"],
        "superior_ability": statistics["superior_ability"],
        "track_record": statistics["sessions"] / needed if math.isfinite(needed) else None,
        "neighbours": _left(float(np.median(others)) if others else None, evidence.value),
        "double_costs": _left(costs.get(2), evidence.value),
        "delay": _left(delays.get(1), evidence.value),
        "other_starts": _left(_worst(list(starts.values()), higher=material.higher), evidence.value),
        "fees": evidence.figures.get("fees_to_gross_profit"),
        "chance_of_loss": None if drawn is None else drawn["chance_of_loss"],
        "hold_out": _left(hold_out, evidence.value),
        "efficiency": None if walk is None else walk["summary"]["efficiency"],
        "drift": max(drift, default=None),
    }


def _left(value: float | None, best: float | None) -> float | None:
    """A value as a part of the best trial's; None where that is not above zero, so that there is no part of it."""
    return None if value is None or best is None or best <= 0.0 else value / best


def _worst(values: Sequence[float | None], *, higher: bool) -> float | None:
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return min(known) if higher else max(known)
