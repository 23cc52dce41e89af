"""docs/settings.md and the settings cannot drift apart."""

import re
from pathlib import Path

from pipelines.settings import PREFIX, Settings

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_every_setting_is_on_the_page_with_its_default():
    rows = re.findall(rf"\| `({PREFIX}\w+)` \| (?:`([^`]*)`)? ?\|", PAGE.read_text())
    defaults = {
        PREFIX + name.upper(): "" if field.default is None else str(field.default)
        for name, field in Settings.model_fields.items()
    }
    assert dict(rows) == defaults
