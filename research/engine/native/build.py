"""Compiling the C sources of this folder, with whatever compiler this Python was built for.

Belongs here: the one command that compiles, and why it could not. Does not belong here: what the compiled code does
(see the sources), loading it (see the package).

Runs by itself as well, so that it can be used while the package is being installed: nothing but the standard library is
imported. Without a compiler or Python's headers nothing is lost but speed.
"""

import hashlib
import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

NAME = "_loop"
_HERE = Path(__file__).parent
_EXACT = ("-O2", "-fPIC", "-ffp-contract=off", "-fno-fast-math")  # a fused multiply-add rounds once, Python twice


def sources() -> list[Path]:
    """The C sources, in a fixed order."""
    return sorted(_HERE.glob("*.c"))


def fingerprint() -> str:
    """What tells these sources from any others; compiled into the module."""
    digest = hashlib.sha256()
    for path in sorted([*_HERE.glob("*.c"), *_HERE.glob("*.h")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def target() -> Path:
    """Where the compiled module belongs: beside its sources, named for this Python."""
    return _HERE / f"{NAME}{sysconfig.get_config_var('EXT_SUFFIX')}"


def build() -> str | None:
    """Compile the module.

    Returns:
        Why that was not possible, in a sentence; None when it is there.
    """
    linker = shlex.split(os.environ.get("LDSHARED") or sysconfig.get_config_var("LDSHARED") or "")
    headers = Path(sysconfig.get_paths()["include"])
    if not linker:
        return "This Python does not say how it compiles extensions."
    if not (headers / "Python.h").is_file():
        return f"Python's headers are missing ({headers}/Python.h)."
    return _compile(linker, headers)


def _compile(linker: list[str], headers: Path) -> str | None:
    made = target().with_suffix(f".{os.getpid()}.new")
    identity = f'-DFINGERPRINT="{fingerprint()}"'
    command = [*linker, *_EXACT, f"-I{headers}", identity, *map(str, sources()), "-o", str(made)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)  # noqa: S603
        if done.returncode:
            return f"The compiler failed: {_first_line(done.stderr)}"
        made.replace(target())
    except (OSError, subprocess.SubprocessError) as error:
        return f"It could not be compiled: {error}"
    finally:
        made.unlink(missing_ok=True)
    return None


def _first_line(text: str) -> str:
    errors = [line for line in text.splitlines() if "error" in line.lower()] or text.splitlines()
    return errors[0] if errors else "it said nothing."
