"""What a strategy's `next` does before it does anything that lasts.

Belongs here: which instructions of a function only look at things, as a program for the compiled loop. Does not belong
here: running it (see `native/looks.c`), everything that a strategy does once it has seen enough.

At most bars a strategy looks at its position and its indicators and returns. The compiled loop follows these
instructions itself, without a frame of Python's. Where it comes to anything else (a call that is not known to look
only, a value of a type that might run code when it is read) it has changed nothing, and Python begins the function
from its beginning.
"""

import dis
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, FunctionType, MethodType
from typing import Any, Final

Step = tuple[str, Any]
"""What to do, and with what: a number of a variable, a name, a constant, a place in the program."""

ACT: Final[Step] = ("act", None)
"""From here on Python has to do it."""

MOST: Final = 24
"""Variables that a function may have, and values that it may have at hand at once."""

_PLAIN: Final = frozenset({"OPTIMIZED", "NEWLOCALS", "NOFREE", "NESTED"})
_SILENT: Final = frozenset({"RESUME", "PRECALL", "NOP", "CACHE", "END_FOR", "TO_BOOL"})
_CONSTANTS: Final = (type(None), bool, int, float, str)
_ARITHMETIC: Final = frozenset({"+", "-", "*", "/"})
_BRANCHES: Final = {
    "POP_JUMP_IF_FALSE": "if_false",
    "POP_JUMP_IF_TRUE": "if_true",
    "POP_JUMP_IF_NONE": "if_none",
    "POP_JUMP_IF_NOT_NONE": "if_not_none",
    "JUMP_IF_FALSE_OR_POP": "if_false_or_pop",
    "JUMP_IF_TRUE_OR_POP": "if_true_or_pop",
    "JUMP": "jump",
    "JUMP_NO_INTERRUPT": "jump",
    "FOR_ITER": "each" if sys.version_info < (3, 13) else "each_kept",
}
_SIMPLE: Final = {
    "POP_TOP": "pop",
    "BINARY_SUBSCR": "item",
    "UNARY_NOT": "not",
    "UNARY_NEGATIVE": "negative",
    "GET_ITER": "iterate",
    "RETURN_VALUE": "return",
    "RETURN_CONST": "return",
}
_NAMED: Final = {"LOAD_METHOD": "method", "LOAD_ATTR": "attribute", "LOAD_GLOBAL": "global"}
_COUNTED: Final = {"COPY": "copy", "SWAP": "swap", "CALL": "call"}


def looks_of(method: Callable[..., object]) -> tuple[CodeType, tuple[Step, ...]] | None:
    """The code of a method and its program; None where it has none that would spare anything.

    Args:
        method: of an object, without arguments.
    """
    function = method.__func__ if isinstance(method, MethodType) else None
    if not isinstance(function, FunctionType) or _is_watched():
        return None
    program = _program(function.__code__)
    return None if program is None else (function.__code__, program)


def _is_watched() -> bool:
    """Whether somebody follows what Python runs."""
    if sys.gettrace() is not None or sys.getprofile() is not None:
        return True
    monitoring = getattr(sys, "monitoring", None)
    return monitoring is not None and any(monitoring.get_tool(tool) for tool in range(6))


@lru_cache(maxsize=256)
def _program(code: CodeType) -> tuple[Step, ...] | None:
    flags = {name for bit, name in dis.COMPILER_FLAG_NAMES.items() if code.co_flags & bit}
    plain = code.co_argcount == 1 and not code.co_kwonlyargcount and not code.co_cellvars and not code.co_freevars
    if not plain or not flags <= _PLAIN or code.co_nlocals > MOST or code.co_exceptiontable:
        return None
    steps: list[Step] = []
    places: dict[int, int] = {}
    keywords = False
    for instruction in dis.get_instructions(code):
        places[instruction.offset] = len(steps)
        steps.extend((ACT,) if keywords else _steps(instruction, code.co_varnames))
        keywords = instruction.opname == "KW_NAMES" or (keywords and instruction.opname in _SILENT)
    branches = frozenset(_BRANCHES.values())
    return tuple((kind, places[given] if kind in branches else given) for kind, given in steps)


def _steps(instruction: dis.Instruction, variables: tuple[str, ...]) -> Iterator[Step]:
    """What an instruction is in a program: mostly one step."""
    name = instruction.opname.replace("_FORWARD", "").replace("_BACKWARD", "")
    if name in _SILENT:
        return
    if name in _BRANCHES:
        yield _BRANCHES[name], instruction.argval
    elif name in _SIMPLE:
        yield _SIMPLE[name], None
    elif name in _COUNTED:
        yield _COUNTED[name], instruction.arg
    elif "_FAST" in name:
        yield from _of_variables(name, instruction.argval, variables)
    else:
        yield _step(name, instruction)


def _step(name: str, instruction: dis.Instruction) -> Step:
    given, arg = instruction.argval, instruction.arg or 0
    if name == "LOAD_CONST" and isinstance(given, _CONSTANTS):
        return "constant", given
    if name in _NAMED:
        is_method = name == "LOAD_ATTR" and sys.version_info >= (3, 12) and arg & 1
        return ("method" if is_method else _NAMED[name]), sys.intern(given)
    if name == "COMPARE_OP":
        return "compare", dis.cmp_op.index(given)
    if name == "IS_OP":
        return "is", arg
    if name == "BINARY_OP" and instruction.argrepr in _ARITHMETIC:
        return instruction.argrepr, None
    return ACT


def _of_variables(name: str, given: str | tuple[str, ...], variables: tuple[str, ...]) -> Iterator[Step]:
    """Loads and stores of variables, which from Python 3.13 on may come in pairs."""
    kinds = [part for part in name.split("_") if part in {"LOAD", "STORE"}]
    names = (given,) if isinstance(given, str) else given
    if len(kinds) != len(names) or not set(name.split("_")) <= {"LOAD", "STORE", "FAST", "CHECK"}:
        yield ACT
        return
    for kind, one in zip(kinds, names, strict=True):
        yield ("variable" if kind == "LOAD" else "store"), variables.index(one)
