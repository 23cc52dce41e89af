"""A project folder of its own for a test that drives the product as a user does.

Belongs here: the folder, and running `barloom` in it. Does not belong here: what a test expects.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Barloom = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone has besides its packages: the Dagster files and the shipped experiments."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "experiments", folder / "experiments")
    return folder


@pytest.fixture(scope="module")
def barloom(project: Path) -> Barloom:
    """Run one command line in the project; stdout and stderr are captured."""

    def call(*words: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("barloom")), *words],
            cwd=project, env=clean_environment(), capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    return call


def clean_environment() -> dict[str, str]:
    """The environment without anything that would point Dagster or barloom elsewhere."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("BARLOOM_", "DAGSTER_", "PYTEST_"))
    }
