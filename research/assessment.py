"""The assessment of a finished study: every statistic on it, judged and kept in its page.

Belongs here: which figure of the material goes into which statistic and check, keeping the outcome. Does not belong
here: formulas, thresholds and sentences (see `research.overfitting`), reading the study (see `material`).

The same record, bars and seed give the same assessment. Two thousand trials of 3,270 sessions take about ten seconds.
"""

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from research.material import Material, material_of
from research.measured import Figure, Missing
from research.overfitting import (
    Clusters,
    Endurance,
    Finding,
    Moments,
    Severity,
    Thresholds,
    cluster_trials,
    deflated_sharpe,
    endurance,
    expected_maximum,
    judge,
    minimum_track_record,
    moments,
    of_returns,
    of_trades,
    plateau,
    probabilistic_sharpe,
    probability_of_overfitting,
    sharpe_ratios,
    superior_ability,
    unread_parameters,
)
from research.overfitting.surface import FEWEST
from research.result import without_nan
from research.study.records import StudyRecord, save_assessment


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
    measured = _Measured.of(material, seed)
    findings = judge(measured.figures(), limits)
    reasons: dict[str, str] = {}
    page = without_nan(
        {
            "made_at": (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
            "seed": seed,
            "trials_run": material.tried,
            "findings": [{**asdict(one), "severity": one.severity.value} for one in findings],
            "statistics": measured.statistics(),
            "thresholds": {one.check: limits.of(one.check).model_dump() for one in findings},
        },
        "",
        reasons,
    )
    page["reasons"] = reasons
    save_assessment(record.folder.parent.parent, record.name, page)
    return Assessment(record.name, findings, page["statistics"], page)


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """The statistics of one study, before they are put into words."""

    material: Material
    shape: Moments | Missing
    luck: float  # Sharpe ratio a session that the best of all trials ever would show without any edge
    variance: float  # of the trials' ratios a session
    known: int  # trials that have such a ratio
    clusters: Clusters
    drawn: Mapping[str, Any]  # everything that needs chance, by name: a dataclass or Missing
    endured: Endurance

    @classmethod
    def of(cls, material: Material, seed: int) -> "_Measured":
        ratios = sharpe_ratios(material.returns)
        known = ratios[~_nan(ratios)]
        variance = float(known.var(ddof=1)) if len(known) > 1 else 0.0
        evidence = material.evidence
        costs = {float(times): value for times, value in evidence.of_kind("costs").items()}
        return cls(
            material=material,
            shape=moments(evidence.daily),
            luck=expected_maximum(material.tried_ever, variance),
            variance=variance,
            known=len(known),
            clusters=cluster_trials(material.returns),
            drawn={
                "overfitting": probability_of_overfitting(material.returns),
                "superiority": superior_ability(material.returns, seed=seed),
                "trades": of_trades(evidence.trades, seed=seed),
                "returns": of_returns(evidence.daily, seed=seed, annualization=material.annualization),
                "plateau": plateau(material.params, material.values, material.best, higher=material.higher),
            },
            endured=endurance(
                evidence.value,
                costs=costs,
                delayed=evidence.of_kind("delay").get(1),
                starts=list(evidence.of_kind("start").values()),
            ),
        )

    def figures(self) -> dict[str, Figure]:
        """The figure of each check."""
        material, evidence, endured = self.material, self.material.evidence, self.endured
        not_positive = "the objective is not above zero, or was not measured there"
        return {
            "parameters_read": self._unread(),
            "trades": _known(evidence.figures.get("trades"), "closed trades were not counted"),
            "fees": _known(evidence.figures.get("fees_to_gross_profit"), "closed trades made no gross profit"),
            "probabilistic_sharpe_ratio": self._of_shape(probabilistic_sharpe),
            "deflated_sharpe_ratio": self._deflated(material.tried_ever),
            "track_record": self._track_record(),
            "overfitting": self._drawn("overfitting", "probability"),
            "superior_ability": self._drawn("superiority", "spa"),
            "plateau": self._drawn("plateau", "kept"),
            "double_costs": _known(endured.at_double, not_positive),
            "delay": _known(endured.delayed, not_positive),
            "other_starts": _known(endured.starts, not_positive),
            "drawdown": self._expected_fall(),
            "walk_forward": self._walk_forward(),
            "parameter_drift": self._drift(),
            "hold_out": self._hold_out(),
        }

    def statistics(self) -> dict[str, Any]:
        """Everything that was measured, null where unknown."""
        material, shape, year = self.material, self.shape, math.sqrt(self.material.annualization)
        walk = material.walk_forward
        known = not isinstance(shape, Missing)
        return {
            "sharpe_ratio": shape.sharpe * year if not isinstance(shape, Missing) else None,
            "return_skewness": shape.skew if not isinstance(shape, Missing) else None,
            "return_kurtosis": shape.kurtosis if not isinstance(shape, Missing) else None,
            "sessions": len(material.evidence.daily),
            "trials": material.tried,
            "trials_with_returns": len(material.numbers),
            "trials_on_symbols": material.tried_ever,
            "effective_trials": self.clusters.count,
            "expected_maximum_sharpe": self.luck * year if self._knows_luck(material.tried_ever) else None,
            "probabilistic_sharpe_ratio": _number(self._of_shape(probabilistic_sharpe)),
            "deflated_sharpe_ratio": _number(self._deflated(material.tried_ever)),
            "deflated_sharpe_ratio_effective": _number(self._deflated_by_clusters()),
            "minimum_track_record": _number(self._of_shape(minimum_track_record)) if known else None,
            "probability_of_backtest_overfitting": _number(self._drawn("overfitting", "probability")),
            "overfitting_slope": _number(self._drawn("overfitting", "slope")),
            "overfitting_loss": _number(self._drawn("overfitting", "loss")),
            "reality_check_p_value": _number(self._drawn("superiority", "reality_check")),
            "spa_p_value": _number(self._drawn("superiority", "spa")),
            "parameter_robustness": _number(self._drawn("plateau", "kept")),
            "break_even_costs": self.endured.break_even,
            "endurance": asdict(self.endured),
            "superiority": _page(self.drawn["superiority"]),
            "plateau": _page(self.drawn["plateau"]),
            "monte_carlo_trades": _page(self.drawn["trades"]),
            "monte_carlo_returns": _page(self.drawn["returns"]),
            "best": material.evidence.page(),
            "hold_out": None if material.hold_out is None else dict(material.hold_out),
            "walk_forward": None if walk is None else {**walk.summary, "metrics": dict(walk.metrics)},
            "drift": None if walk is None else walk.page.get("drift"),
        }

    def _of_shape(self, formula: Any) -> Figure:  # noqa: ANN401 (a function of moments)
        return self.shape if isinstance(self.shape, Missing) else formula(self.shape)

    def _deflated(self, trials: float) -> Figure:
        if not self._knows_luck(trials):
            return Missing("fewer than 2 trials have a Sharpe ratio, so the luck of having tried many is unknown")
        return self._of_shape(lambda shape: deflated_sharpe(shape, trials, self.variance))

    def _knows_luck(self, trials: float) -> bool:
        """Whether it can be told: one ratio of many has no variance, which is not the same as none."""
        return trials <= 1 or self.known > 1

    def _deflated_by_clusters(self) -> Figure:
        """With the effective number of trials and the variance between their groups."""
        count, variance = self.clusters.count, self.clusters.variance
        return self._of_shape(lambda shape: deflated_sharpe(shape, count, variance))

    def _unread(self) -> Figure:
        outcomes = _outcomes(self.material)
        traded = sum(one is not None for one in outcomes)
        if traded < FEWEST:
            return Missing(f"{traded} trials that traded are too few to tell what changes nothing")
        return float(len(unread_parameters(self.material.params, outcomes)))

    def _track_record(self) -> Figure:
        needed = self._of_shape(minimum_track_record)
        return needed if isinstance(needed, Missing | str) else len(self.material.evidence.daily) / needed

    def _drawn(self, name: str, field: str) -> Figure:
        found = self.drawn[name]
        if isinstance(found, Missing):
            return found
        return _known(getattr(found, field), "the trials do not differ enough")

    def _expected_fall(self) -> Figure:
        found = self.drawn["returns"]
        return found if isinstance(found, Missing) else -found.drawdown.low

    def _walk_forward(self) -> Figure:
        walk = self.material.walk_forward
        if walk is None:
            return Missing("there is no walk-forward of this study; `barloom walkforward` makes one")
        return _known(walk.summary.get("efficiency"), "the searches found nothing positive")

    def _drift(self) -> Figure:
        walk = self.material.walk_forward
        moved = [one["change"] for one in ((walk.page.get("drift") or {}) if walk else {}).values()]
        known = [change for change in moved if change is not None]
        return max(known) if known else Missing("there is no walk-forward of this study with two tested windows")

    def _hold_out(self) -> Figure:
        material = self.material
        if material.hold_out is None:
            remark = material.hold_out_remark or "there is none"
            return Missing(remark[0].lower() + remark[1:].removesuffix("."))
        seen, value = material.hold_out.get("objective"), material.evidence.value
        if seen is None or value is None or value <= 0.0:
            return Missing("the objective is not above zero, or has no value on the hold-out")
        return seen / value if material.higher else value / seen if seen else Missing("the hold-out's value is 0")


def _outcomes(material: Material) -> list[Hashable]:
    """What each trial came to, to the last bit of its returns; None where it never had any."""
    return [row.tobytes() if row.any() else None for row in material.returns]


def _nan(values: Any) -> Any:  # noqa: ANN401 (arrays)
    return values != values  # noqa: PLR0124 (NaN is not itself)


def _known(value: float | None, reason: str) -> Figure:
    return Missing(reason) if value is None else float(value)


def _number(figure: Figure) -> float | None:
    return float(figure) if isinstance(figure, float | int) else None


def _page(found: Any) -> dict[str, Any] | None:  # noqa: ANN401 (a dataclass or Missing)
    return None if isinstance(found, Missing) else json.loads(json.dumps(asdict(found)))
