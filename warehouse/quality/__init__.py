"""Is a symbol's data fit to be used? Rules, their settings, and the report on what they found.

Belongs here: judging stored bars. Does not belong here: repairing them (see `warehouse.cleaning`), stopping a
backtest (whoever runs one asks `QualityReport.blocking`).
"""

from warehouse.quality.completeness import YearCoverage
from warehouse.quality.inspection import RULES, inspect
from warehouse.quality.page import render_html
from warehouse.quality.report import QualityReport, read_report, render_json, write_report
from warehouse.quality.rule import Rule, Severity
from warehouse.quality.settings import QualitySettings, RuleSetting

__all__ = [
    "RULES",
    "QualityReport",
    "QualitySettings",
    "Rule",
    "RuleSetting",
    "Severity",
    "YearCoverage",
    "inspect",
    "read_report",
    "render_html",
    "render_json",
    "write_report",
]
