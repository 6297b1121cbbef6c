"""A result says what made it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import blockenv
from benchmarks import provenance


def test_versions_are_those_that_are_imported() -> None:
    found = provenance.versions()
    assert found["numpy"] == np.__version__
    assert found["blockenv"] == blockenv.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert set(provenance.PACKAGES) < set(found)


def test_a_package_that_is_not_there_is_said_to_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("no-such-distribution",))
    assert provenance.versions()["no-such-distribution"] == "absent"


def test_hardware_is_plain_words_and_numbers() -> None:
    found = provenance.hardware()
    assert json.loads(json.dumps(found)) == found
    assert found["cores"] >= 1
    assert all(found.values())


def test_hardware_does_not_load_pytorch() -> None:
    code = "import sys; from benchmarks import provenance; provenance.hardware(); print('torch' in sys.modules)"
    root = Path(provenance.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_commit_has_a_plus_exactly_when_files_differ_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "benchmarks" / "provenance.py"
    module.parent.mkdir()
    module.write_text("first")
    monkeypatch.setattr(provenance, "__file__", str(module))

    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", "-C", tmp_path, *identity, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert provenance.commit() == "unknown"
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    head = git("rev-parse", "--short=12", "HEAD")
    assert provenance.commit() == head
    (tmp_path / "untracked").write_text("")
    assert provenance.commit() == head
    module.write_text("second")
    assert provenance.commit() == head + "+"
    # A copy without a checkout of its own does not borrow that of the folder around it.
    inner = tmp_path / "vendored" / "benchmarks" / "provenance.py"
    inner.parent.mkdir(parents=True)
    inner.write_text("first")
    monkeypatch.setattr(provenance, "__file__", str(inner))
    assert provenance.commit() == "unknown"


def test_without_git_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() == "unknown"
