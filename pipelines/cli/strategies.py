"""`barloom strategies` and `barloom new strategy`.

Belongs here: listing and scaffolding from the terminal. Does not belong here: what a strategy is (see `strategies`).
"""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from pipelines.cli.tables import print_json, say


def strategies(*, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> int:
    """List the strategies that ship with barloom, with their parameters, searched ranges and constraints.

    Args:
        as_json: Print JSON instead of a table.
    """
    from strategies.registry import library

    found = library()
    if as_json:
        print_json([info.as_dict() for info in found])
        return 0
    shared = [line for line in found[0].parameters if all(line in info.parameters for info in found)]
    for info in found:
        say(f"{info.dotted}  ({info.family})")
        say(f"    {info.summary}")
        for line in (*(p for p in info.parameters if p not in shared), *(f"where {c}" for c in info.constraints)):
            say(f"      {line}")
    say("Every one of them")
    for line in shared:
        say(f"      {line}")
    return 0


def new(kind: Literal["strategy"], name: str, /, *, folder: Path = Path()) -> int:
    """Write a working, tested starting point.

    Args:
        kind: What to write; only `strategy` so far.
        name: Class name of the strategy in CamelCase, for example `MyBreakout`.
        folder: Where to write it; the working directory unless said otherwise.
    """
    from strategies.scaffold import new_strategy

    for path in new_strategy(name, folder):
        say(f"wrote {path}")
    return 0
