"""`python -m research.engine.native`: compile the loop for this Python.

Belongs here: the command. Does not belong here: compiling (see `build`).
"""

import sys

from research.engine.native import loaded
from research.engine.native.build import build, target


def main() -> None:
    """Compile what is not compiled yet, or say in one line why the loop stays in Python; never fails."""
    why = build() if loaded() is None else None
    told = f"compiled {target().name}" if why is None else f"The loop stays in Python, with the same results: {why}"
    sys.stdout.write(f"{told}\n")


if __name__ == "__main__":
    main()
