"""docs/settings.md and the settings cannot drift apart."""

import re
from pathlib import Path

from pipelines.settings import Settings, variable_of

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_every_setting_is_on_the_page_with_its_default():
    rows = re.findall(r"\| `([A-Z]+_\w+)` \| (?:`([^`]*)`)? ?\|", PAGE.read_text())
    defaults = {
        variable_of(name): "" if field.default is None else str(field.default)
        for name, field in Settings.model_fields.items()
    }
    assert dict(rows) == defaults
