"""What installing the project does besides copying files: compile the fast loop.

Belongs here: hatchling's hook. Does not belong here: compiling (see research/engine/native/build.py).

A machine without a C compiler or without Python's headers installs all the same, and runs the loop in Python.
"""

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_BUILD = Path("research/engine/native/build.py")


class CompiledLoop(BuildHookInterface):
    """Compiles the loop beside its sources, where an editable install finds it, and puts it into a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is put together."""
        native = _module(Path(self.root) / _BUILD)
        why = native.build()
        if why is not None:
            self.app.display_info(f"The fast loop is not compiled, results are the same: {why}")
        elif version == "standard":
            made = native.target().relative_to(self.root).as_posix()
            build_data["artifacts"].append(f"/{made}")
            build_data["pure_python"], build_data["infer_tag"] = False, True


def _module(path: Path) -> Any:  # noqa: ANN401 (a module by its path: the package is not installed yet)
    spec = importlib.util.spec_from_file_location("native_build", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
