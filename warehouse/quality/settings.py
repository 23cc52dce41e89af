"""What a user may change about the quality rules.

Belongs here: the settings model. Does not belong here: defaults of a rule (they stand beside the rule), where
settings come from.
"""

import difflib

from pydantic import BaseModel, ConfigDict, Field, model_validator

from warehouse.quality.rule import Rule, Severity
from warehouse.resolution import Resolution


class RuleSetting(BaseModel):
    """How one rule differs from its default; None leaves the default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="in the rule's own unit")
    severity: Severity | None = Field(default=None, description="INFO, WARN or ERROR")
    enabled: bool = Field(default=True, description="false leaves the rule out of the report")


class QualitySettings(BaseModel):
    """Settings by rule: `QualitySettings(missing_sessions={"threshold": 3, "severity": "ERROR"})`.

    The ids and their meanings are those of `warehouse.quality.RULES`; an unknown id is an error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    no_data: RuleSetting = RuleSetting()
    unreadable: RuleSetting = RuleSetting()
    future_bars: RuleSetting = RuleSetting()
    missing_sessions: RuleSetting = RuleSetting()
    missing_minutes: RuleSetting = RuleSetting()
    outside_session: RuleSetting = RuleSetting()
    coverage_ratio: RuleSetting = RuleSetting()
    series_ended: RuleSetting = RuleSetting()
    duplicates: RuleSetting = RuleSetting()
    non_monotonic_time: RuleSetting = RuleSetting()
    high_low_inconsistency: RuleSetting = RuleSetting()
    non_positive_or_nan_price: RuleSetting = RuleSetting()
    zero_volume: RuleSetting = RuleSetting()
    quarantined: RuleSetting = RuleSetting()
    flat_run: RuleSetting = RuleSetting()
    spike_with_reversal: RuleSetting = RuleSetting()
    gap_without_action: RuleSetting = RuleSetting()
    unexplained_scale_change: RuleSetting = RuleSetting()
    ticker_reuse: RuleSetting = RuleSetting()
    volume_unit_change: RuleSetting = RuleSetting()
    vendor_revisions: RuleSetting = RuleSetting()
    quality_score: RuleSetting = RuleSetting()

    @model_validator(mode="before")
    @classmethod
    def _name_the_near_match(cls, given: object) -> object:
        for key in given if isinstance(given, dict) else ():
            if key not in cls.model_fields:
                near = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"{key!r} is not a quality rule.{hint}")
        return given

    def of(self, rule: Rule) -> RuleSetting:
        """The setting of one rule."""
        setting: RuleSetting = getattr(self, rule.id)
        return setting

    def threshold(self, rule: Rule, resolution: Resolution) -> float:
        """The threshold that holds for a rule at a resolution."""
        own = self.of(rule).threshold
        return rule.default_threshold(resolution) if own is None else own

    def severity(self, rule: Rule) -> Severity:
        """The severity that holds for a rule."""
        return self.of(rule).severity or rule.severity
