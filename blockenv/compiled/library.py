"""Turns C text into functions in this process, with the machine's own compiler, once for each text and machine.

What was compiled is kept in the user's cache folder under a name that tells its whole content; nothing is downloaded,
and no folder is used that others could write into.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

# Never -ffast-math: every addition stays where it is. The last two say only that no error flags are read.
FLAGS = (
    "-O2", "-ftree-vectorize", "-fvect-cost-model=unlimited", "-march=native", "-std=c11",
    "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
)  # fmt: skip
_SECONDS = 120  # that a compiler may take


class CompilerError(RuntimeError):
    """There is no compiler, or it failed."""


@cache
def compiler() -> str | None:
    """The C compiler: what `CC` names, else `cc`, `gcc` or `clang`; None where there is none."""
    if sys.platform == "win32":
        return None
    named = os.environ.get("CC")
    return next(
        (found for each in ([named] if named else ["cc", "gcc", "clang"]) if (found := shutil.which(each))), None
    )


def is_kept(text: str) -> bool:
    """Whether `text` was compiled before, so that `load` takes no time."""
    path = _path(text)
    return path is not None and path.exists()


def load(text: str) -> ctypes.CDLL:
    """The functions of a C text.

    Raises:
        CompilerError: no compiler, or it failed.
    """
    path = _path(text)
    if path is None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "day.so"
            _compile(text, path)
            return _open(path)
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.stat().st_uid != os.getuid() or path.parent.stat().st_mode & 0o022:
            raise CompilerError(f"{path.parent}: others can write into it")
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            _compile(text, made)
            made.replace(path)  # whole or not at all, for other processes that look at the same time
    return _open(path)


def _path(text: str) -> Path | None:
    """Where a text's functions are kept; None without a home."""
    chosen = compiler()
    if chosen is None:
        return None
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(base) if base else Path.home() / ".cache"
    except RuntimeError:
        return None
    words = "\n".join([_identity(chosen), *FLAGS, text])
    return folder / "blockenv" / f"{hashlib.sha256(words.encode()).hexdigest()[:32]}.so"


@cache
def _identity(chosen: str) -> str:
    """The compiler's version and the processor it compiles for."""
    version = subprocess.run([chosen, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    processor = platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text().splitlines()
        processor += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return version + processor


def _compile(text: str, path: Path) -> None:
    chosen = compiler()
    if chosen is None:
        raise CompilerError("no C compiler found: neither $CC nor cc, gcc or clang")
    command = [chosen, *FLAGS, "-shared", "-fPIC", "-x", "c", "-", "-o", str(path), "-lm"]
    try:
        done = subprocess.run(  # noqa: S603 - the user's own compiler, with a text of ours
            command, input=text, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerError(f"{chosen}: {error}") from error
    if done.returncode:
        raise CompilerError(f"{chosen}: {done.stderr.strip()[:300]}")


def _open(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise CompilerError(f"{path}: {error}") from error
