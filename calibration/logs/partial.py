"""A folder that appears whole or not at all, and is gone on with where a kill left it.

Work goes into a hidden folder beside the final one and is renamed at the end. This file must never know what is
written.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from calibration.logs.schema import LogError


class Partial:
    """The half-written form of a folder: finished steps are kept, with what they found.

    Attributes:
        folder: becomes the final folder.
        scratch: for files that are thrown away at the end, and spilled memory.
    """

    def __init__(self, work: Path, fingerprint: str) -> None:
        """Use `partial`."""
        self._work = work
        self.folder, self.scratch, self._steps = work / "folder", work / "scratch", work / "steps"
        noted = work / "fingerprint"
        self.resumed = noted.is_file() and noted.read_text(encoding="utf-8") == fingerprint
        if not self.resumed:
            for old in (self.folder, self.scratch, self._steps):
                shutil.rmtree(old, ignore_errors=True)
            noted.write_text(fingerprint, encoding="utf-8")
        for needed in (self.folder, self.scratch, self._steps):
            needed.mkdir(parents=True, exist_ok=True)

    def found(self, step: str) -> Any:
        """What a finished step has found, None if it is not finished."""
        path = self._steps / f"{step}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def finish(self, step: str, facts: Any) -> None:
        """Note that a step is finished; `facts` as JSON has it, not None."""
        write_whole(self._steps / f"{step}.json", json.dumps(facts))

    def has_steps(self) -> bool:
        """Whether there is anything to go on with."""
        return any(self._steps.iterdir())


@contextmanager
def partial(out: Path, fingerprint: str) -> Iterator[Partial]:
    """Fill `partial.folder`; at the end it becomes `out`. After an error or a kill, the same fingerprint goes on.

    Until then everything is in a hidden folder beside `out`, which goes when nothing in it is worth keeping.

    Raises:
        LogError: `out` is there already, or somebody else is filling it.
        OSError: the disk is full or cannot be written.
    """
    if out.exists():
        raise LogError(f"{out}: is there already; choose another folder or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    work = out.parent / f".{out.name}.partial"
    work.mkdir(exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LogError(f"{out}: somebody else is writing it (lock of {work})") from error
        half = Partial(work, fingerprint)
        try:
            yield half
            os.rename(half.folder, out)
        finally:
            if out.exists() or not half.has_steps():
                shutil.rmtree(work)


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that it appears whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
