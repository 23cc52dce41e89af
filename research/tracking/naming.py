"""Names and values as a tracking store takes them.

Belongs here: experiment names, tags of filing, flattening, what MLflow allows in a name. Does not belong here: which
figures are tracked.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_FILING = ("project", "asset_class", "strategy_family", "strategy", "team", "status")
_FALLBACKS = {"project": "Barloom", "asset_class": "Unclassified"}
_LONGEST_NAME, _LONGEST_PARAM, _LONGEST_TAG = 250, 6000, 5000
_REFUSED = re.compile(r"[^\w\-. /]")


def filing_tags(tags: Mapping[str, Any], strategy: str, family: str | None = None) -> dict[str, str]:
    """The tags by which runs are filed.

    Args:
        tags: what the user gave, which wins.
        strategy: dotted path of the strategy's class.
        family: what the library files the class under, `mean reversion`.
    """
    module, _, class_name = strategy.rpartition(".")
    words = re.split(r"[\s_]+", (family or module.rpartition(".")[2]).strip())
    known = {
        **_FALLBACKS,
        "strategy_family": "".join(word[:1].upper() + word[1:] for word in words) or class_name,
        "strategy": class_name,
        "status": "research",
    }
    found = {name: tags.get(name) or known.get(name) for name in _FILING}
    return {name: str(value) for name, value in found.items() if value}


def experiment_name(filing: Mapping[str, str]) -> str:
    """`{Project}.{AssetClass}.{StrategyFamily}.{Strategy}`."""
    parts = (filing[name] for name in ("project", "asset_class", "strategy_family", "strategy"))
    return ".".join(re.sub(r"[\s./]+", "_", part.strip()) for part in parts)


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested mapping as parameters: `costs.slippage.bps`; lists as JSON, what is absent left out."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat.update(flattened(value, f"{path}."))
        elif value is not None:
            flat[safe_name(path)] = _text(value)[:_LONGEST_PARAM]
    return flat


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among the values: what could not be measured has no metric, rather than a false one."""
    return {
        safe_name(str(name)): float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def texts(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as text; empty ones are left out."""
    return {safe_name(name): _text(value)[:_LONGEST_TAG] for name, value in tags.items() if value not in (None, "")}


def safe_name(name: str) -> str:
    """The name with `_` for what MLflow refuses in one; `//`, `..` and a leading `/` are paths to it."""
    plain = re.sub(r"\.{2,}|/{2,}", "_", _REFUSED.sub("_", name))
    return plain.strip("/. ")[:_LONGEST_NAME] or "_"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
