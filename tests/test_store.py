"""The store of results holds whole rows and nothing else, whatever interrupts its writers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import store

ROOT = Path(__file__).parent.parent


def row(key: str, **fields: Any) -> dict[str, Any]:
    return {"key": key, "agent": "cap", "value": 1.5} | fields


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "store"
    assert store.read_rows(folder) == []
    store.write(folder, row("a", words="ä\nb"), [1.0, 2.5])
    store.write(folder, row("b"), np.array([3.0, 4.0], np.float64))
    assert store.read_rows(folder) == [row("a", words="ä\nb"), row("b")]
    values = store.read_values(folder, row("a"))
    assert (values.dtype, values.tolist()) == (np.float64, [1.0, 2.5])
    assert sorted(path.name for path in folder.rglob("*.*")) == ["a.npy", "b.npy", "rows.jsonl"]


def test_of_two_rows_of_a_cell_the_first_counts(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        store.write(tmp_path, row("a", value=value), [value, value])
    assert [each["value"] for each in store.read_rows(tmp_path)] == [1.0]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 200))
def test_a_last_line_cut_off_anywhere_is_survived_and_mended(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store.write(folder, row("a"), [1.0, 1.0])
    store.write(folder, row("b"), [2.0, 2.0])
    path = folder / "rows.jsonl"
    first, second, _ = path.read_bytes().split(b"\n")
    path.write_bytes(first + b"\n" + second[: min(cut, len(second))])
    whole = cut >= len(second)
    assert [each["key"] for each in store.read_rows(folder)] == (["a", "b"] if whole else ["a"])
    store.write(folder, row("c"), [3.0, 3.0])
    assert [each["key"] for each in store.read_rows(folder)] == (["a", "b", "c"] if whole else ["a", "c"])
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_foreign_lines_and_rows_without_values_are_not_rows(tmp_path: Path) -> None:
    store.write(tmp_path, row("a"), [1.0, 1.0])
    with (tmp_path / "rows.jsonl").open("ab") as file:
        file.write(b"3\nnull\n{}\n\n\xff\xfe\n" + json.dumps(row("lost")).encode() + b"\n")
    assert store.read_rows(tmp_path) == [row("a")]


def test_two_writers_at_once_do_not_mix_their_lines(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from benchmarks import store\n"
        "for n in range(60): store.write(Path(sys.argv[1]), "
        "{'key': f'{sys.argv[2]}{n}', 'text': sys.argv[2] * 20000}, [1.0, 2.0])"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name], cwd=ROOT) for name in "xy"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert sorted(line["key"] for line in lines) == sorted(f"{name}{n}" for name in "xy" for n in range(60))
    assert all(line["text"] == line["key"][0] * 20000 for line in lines)


def test_a_full_disk_keeps_nothing_of_the_row(tmp_path: Path) -> None:
    store.write(tmp_path, row("a"), [1.0, 1.0])
    (tmp_path / "rows.jsonl").rename(tmp_path / "kept")
    (tmp_path / "rows.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        store.write(tmp_path, row("b"), [1.0, 1.0])
    (tmp_path / "rows.jsonl").unlink()
    (tmp_path / "kept").rename(tmp_path / "rows.jsonl")
    assert store.read_rows(tmp_path) == [row("a")]


def test_a_disk_that_fills_within_a_line_leaves_no_half_of_it(tmp_path: Path) -> None:
    # The limit on the size of files stands for the disk: the line before it fits, the next one only in part.
    code = (
        "import resource, signal, sys; from pathlib import Path; from benchmarks import store\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "folder = Path(sys.argv[1])\n"
        "store.write(folder, {'key': 'a', 'text': 'x' * 3000}, [1.0, 2.0])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "store.write(folder, {'key': 'b', 'text': 'x' * 3000}, [1.0, 2.0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert "OSError" in done.stderr
    assert (tmp_path / "rows.jsonl").read_text().endswith("}\n")
    assert [each["key"] for each in store.read_rows(tmp_path)] == ["a"]


def test_values_that_cannot_be_written_leave_no_row_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.write(tmp_path, row("a"), [1.0, 1.0])
    assert store.read_rows(tmp_path) == []
    assert list((tmp_path / "values").iterdir()) == []
