"""A benchmark that is killed ten times at random moments makes the same table as one that nobody disturbs."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import configs, experiment, leaderboard, store, tables

ROOT = Path(__file__).parent.parent
KILLS = 10
SUITE = {
    "title": "Often killed",
    "scenarios": ["Frequency-v0", "Style-v0"],
    "agents": ["silence", "random", "weekly", "cap", "lints"],
    "seeds": 3,
    "customers": 128,
    "days": 182,
    "settings": {
        "weekly": {"customers": 64, "days": 28},
        "cap": {"gap": 7, "messages": [1], "customers": 256, "days": 182},
        "lints": {"customers": 256, "days": 91},
    },
}
PROGRAM = """
import sys
from pathlib import Path
from benchmarks import configs, experiment

if __name__ == "__main__":
    experiment.run(configs.suite(Path(sys.argv[1])), Path(sys.argv[2]), 2)
"""


def table(folder: Path, rows: list[dict[str, Any]]) -> str:
    """All that is told of the rows, but for how long they took."""
    timeless = [{**row, "training_seconds": 0.0, "commit": "any"} for row in rows]
    boards = leaderboard.boards(timeless, folder)
    return tables.markdown(boards, "Any") + tables.csv_text(boards)


def test_killed_ten_times(tmp_path: Path) -> None:
    path, folder, dice = tmp_path / "suite.yaml", tmp_path / "killed", random.Random(9)
    path.write_text(json.dumps(SUITE))
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [sys.executable, str(tmp_path / "program.py"), str(path), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    grown = [0]
    for kill in range(KILLS):
        started = subprocess.Popen(words, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
        # Half of the kills come whenever, also before anything has begun; the others as soon as there is something new.
        end = time.monotonic() + (dice.uniform(0.1, 1.5) if kill % 2 else 60)
        while started.poll() is None and time.monotonic() < end:
            if not kill % 2 and len(store.read_rows(folder)) > grown[-1]:
                time.sleep(dice.uniform(0, 0.1))
                break
            time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()
        grown.append(len(store.read_rows(folder)))
    assert grown == sorted(grown)
    assert len(set(grown)) > 3, grown
    plan = configs.suite(path)
    killed = experiment.run(plan, folder, 2)
    undisturbed = experiment.run(plan, tmp_path / "undisturbed", 2)
    assert len(killed) == 14
    assert table(folder, killed) == table(tmp_path / "undisturbed", undisturbed)
    # Nothing was run twice, but by other code, as somebody may be working here.
    lines = (folder / "rows.jsonl").read_text().splitlines()
    assert len(lines) == len({json.loads(line)["key"] for line in lines}) >= 14
