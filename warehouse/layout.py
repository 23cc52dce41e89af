"""Where each file of the warehouse lies under the data folder.

Belongs here: paths as pure functions of root, resolution and symbol. Does not belong here: reading, writing.

Symbol and resolution are also columns inside the files, so a reader never needs the `key=value` folder names.
"""

from datetime import date
from pathlib import Path

from warehouse.resolution import Resolution
from warehouse.symbols import encode_symbol

CLEAN_GLOB = "clean/resolution=*/symbol=*/year=*/bars.parquet"
RAW_GLOB = "raw/*/*/*.parquet"


def raw_folder(root: Path, symbol: str, resolution: Resolution) -> Path:
    """Folder of the raw batches of one symbol."""
    return root / "raw" / resolution.value / encode_symbol(symbol)


def clean_folder(root: Path, symbol: str, resolution: Resolution) -> Path:
    """Folder of the yearly clean files of one symbol."""
    return root / "clean" / f"resolution={resolution.value}" / f"symbol={encode_symbol(symbol)}"


def actions_file(root: Path, symbol: str) -> Path:
    """Corporate actions of one symbol, all resolutions."""
    return root / "actions" / f"{encode_symbol(symbol)}.parquet"


def quarantine_file(root: Path, symbol: str, resolution: Resolution) -> Path:
    """Raw bars that cleaning kept out."""
    return root / "quarantine" / resolution.value / f"{encode_symbol(symbol)}.parquet"


def revisions_file(root: Path, symbol: str, resolution: Resolution) -> Path:
    """Values that a later batch changed."""
    return root / "revisions" / resolution.value / f"{encode_symbol(symbol)}.parquet"


def absences_file(root: Path, symbol: str, resolution: Resolution) -> Path:
    """Ranges for which a vendor answered "none"."""
    return raw_folder(root, symbol, resolution) / "absences.json"


def seen_folder(root: Path, deployment: str, session: date) -> Path:
    """Bars as the runs of a live session saw them."""
    return root / "seen" / deployment / session.isoformat()


def quality_folder(root: Path, symbol: str, resolution: Resolution) -> Path:
    """Quality report of one symbol: checks.parquet, findings.parquet, report.json."""
    return root / "quality" / resolution.value / encode_symbol(symbol)
