"""What `barloom new strategy` writes, and refuses to."""

import pytest

from strategies.errors import ScaffoldError
from strategies.scaffold import new_strategy


def refused(name, folder):
    with pytest.raises(ScaffoldError) as caught:
        new_strategy(name, folder)
    return str(caught.value)


def test_it_writes_a_strategy_and_its_test(tmp_path):
    assert new_strategy("MyRSIBreakout2", tmp_path / "new") == [
        tmp_path / "new" / "my_rsi_breakout2.py",
        tmp_path / "new" / "test_my_rsi_breakout2.py",
    ]
    assert "class MyRSIBreakout2(BaseStrategy):" in (tmp_path / "new" / "my_rsi_breakout2.py").read_text()


def test_nothing_is_left_to_fill_in(tmp_path):
    assert all("$" not in path.read_text() for path in new_strategy("Mine", tmp_path))


@pytest.mark.parametrize("name", ["mine", "my_breakout", "2Fast", "My-Breakout", "", "../Mine", "None", "ValueError"])
def test_what_is_no_class_name_is_refused(name, tmp_path):
    assert refused(name, tmp_path) == f"name: {name!r} must be a class name in CamelCase, such as MyBreakout."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["Risk", "Statistics", "Strategies", "Class"])
def test_a_module_that_would_hide_another_is_refused(name, tmp_path):
    assert "means something else already" in refused(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("existing", ["my_breakout.py", "test_my_breakout.py"])
def test_a_file_that_is_there_is_never_overwritten(existing, tmp_path):
    (tmp_path / existing).write_text("mine")
    assert refused("MyBreakout", tmp_path) == f"{tmp_path / existing} is there already; nothing was written."
    assert (tmp_path / existing).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    assert refused("MyBreakout", tmp_path / "file") == f"folder: {tmp_path / 'file'} is a file."
