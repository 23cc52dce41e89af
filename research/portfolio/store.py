"""A portfolio's files: `results/portfolios/{key}/`.

Belongs here: the page, the tables and the summary on disk. Does not belong here: what they hold (see `portfolio`).
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from research.portfolio.page import portfolio_html
from research.portfolio.portfolio import Portfolio
from warehouse.files import write_bytes, write_parquet

DAILY_SCHEMA = pa.schema(
    [
        pa.field("session", pa.date32()),
        pa.field("return", pa.float64()),  # of the portfolio
        pa.field("level", pa.float64()),  # 1.0 before the first session
    ]
)
WEIGHTS_SCHEMA = pa.schema(
    [
        pa.field("session", pa.date32()),  # decided at its close; null: before the first
        pa.field("id", pa.string()),  # of the backtest
        pa.field("weight", pa.float64()),
        pa.field("note", pa.string()),  # why it is not what the method gives
    ]
)


def portfolio_folder(results_dir: Path, key: str) -> Path:
    """Where a portfolio's files are."""
    return results_dir / "portfolios" / key


def save_portfolio(portfolio: Portfolio, results_dir: Path) -> Path:
    """Write the tables, the page and, last, `portfolio.json`.

    Returns:
        The HTML page.
    """
    folder = portfolio_folder(results_dir, portfolio.key)
    write_parquet(folder / "daily.parquet", daily_table(portfolio))
    write_parquet(folder / "weights.parquet", weights_table(portfolio))
    page = folder / "portfolio.html"
    write_bytes(page, portfolio_html(portfolio).encode())
    text = json.dumps(portfolio_page(portfolio), indent=1, allow_nan=False, ensure_ascii=False)
    write_bytes(folder / "portfolio.json", f"{text}\n".encode())
    return page


def daily_table(portfolio: Portfolio) -> pa.Table:
    """The combined curve (`DAILY_SCHEMA`)."""
    returns = portfolio.track.returns
    return pa.table(
        {
            "session": pa.array([day.date() for day in returns.index], pa.date32()),
            "return": returns.to_numpy(),
            "level": (1.0 + returns).cumprod().to_numpy(),
        },
        schema=DAILY_SCHEMA,
    )


def weights_table(portfolio: Portfolio) -> pa.Table:
    """Every weight that was set (`WEIGHTS_SCHEMA`)."""
    rows = [
        {"session": portfolio.decided_on(one), "id": part.id, "weight": float(weight), "note": one.note}
        for one in portfolio.rebalances
        for part, weight in zip(portfolio.parts, one.weights, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=WEIGHTS_SCHEMA)


def portfolio_page(portfolio: Portfolio) -> dict[str, Any]:
    """The summary as plain JSON types."""
    return {
        "key": portfolio.key,
        "options": portfolio.options.model_dump(mode="json"),
        "notes": list(portfolio.notes),
        "parts": [
            {
                "id": part.id,
                "label": part.label,
                "weight": part.weight,
                "expected_risk": part.expected_risk,
                "realised_risk": part.realised_risk,
                "metrics": dict(part.figures),
                "null_reasons": dict(part.reasons),
            }
            for part in portfolio.parts
        ],
        "correlation": [[None if value != value else float(value) for value in row] for row in portfolio.correlation],  # noqa: PLR0124 (NaN)
        "metrics": dict(portfolio.figures),
        "null_reasons": dict(portfolio.reasons),
    }
