"""The refusal to use bars that were not judged, or failed a quality rule.

Belongs here: the gate at the read boundary. Does not belong here: rules and reports (see `warehouse.quality`), Dagster:
a process that only runs backtests does without its 40 MB.
"""

from collections.abc import Iterable

from pipelines.errors import QualityGateError
from pipelines.prefixes import asset_name
from pipelines.stamps import read_stamp
from warehouse.errors import NoDataError
from warehouse.quality import read_report
from warehouse.resolution import Resolution
from warehouse.store import Warehouse
from warehouse.symbols import encode_symbol


def refuse_bad_bars(
    warehouse: Warehouse, symbols: Iterable[str], resolution: Resolution, *, override: str | None
) -> dict[str, list[str]]:
    """Let only judged bars without a quality ERROR through; the gate of everything that reads bars to decide.

    Args:
        warehouse: where bars and reports lie.
        symbols: as in the experiment.
        resolution: of the bars.
        override: the recorded reason for using bars in spite of an ERROR, or None.

    Returns:
        The rules that were overridden, by symbol.

    Raises:
        QualityGateError: a symbol has no report, its report is of other bars, or an ERROR stands without override.
        NoDataError: the warehouse has no bars of a symbol.
    """
    overridden: dict[str, list[str]] = {}
    for symbol in symbols:
        errors = _standing(warehouse, symbol, resolution)
        if errors and override is None:
            raise QualityGateError(
                f"{symbol}: quality ERROR stands ({', '.join(errors)}); mend the bars, or give the experiment "
                "allow_quality_errors with the reason."
            )
        if errors:
            overridden[symbol] = errors
    return overridden


def _standing(warehouse: Warehouse, symbol: str, resolution: Resolution) -> list[str]:
    version = warehouse.data_version(symbol, resolution)
    if not version:
        raise NoDataError(f"{symbol}: the warehouse has no {resolution.value} bars.")
    report = read_report(warehouse, symbol, resolution)
    name = asset_name("quality_report", resolution)
    stamp = read_stamp(warehouse.root, name, encode_symbol(symbol))
    if report is None or stamp is None:
        raise QualityGateError(f"{symbol}: its {resolution.value} bars have not been judged; materialise {name}.")
    if stamp.inputs.get(asset_name("clean_bars", resolution)) != version:
        raise QualityGateError(f"{symbol}: its quality report is of other {resolution.value} bars; materialise {name}.")
    return list(report.errors)
