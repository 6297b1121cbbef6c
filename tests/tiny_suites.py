"""Two small suites with their findings, as further suites of a page: other worlds, and the online track."""

import json
from pathlib import Path

from benchmarks import experiment
from benchmarks.configs import ROOT, Suite, world_and_law
from benchmarks.findings import findings
from benchmarks.page.build import NAME
from tests.tiny_agents import TINY, known

NASTY = "RuntimeError: </script><!-- <b>bold</b> & \u2028 |"
SHIFTED = Suite(
    title="Tiny <shift>",
    trained_on="Omnichannel-v0",
    scenarios=["Omnichannel-v0", str(ROOT / "configs" / "worlds" / "reactants.yaml"), "Omnichannel-v0+two_clocks"],
    agents=["silence", "random", "weekly", "lints"],
    seeds=2,
    customers=60,
    days=84,
    settings={"weekly": {"customers": 16, "days": 7}, "lints": known("lints", TINY)},
)
ONLINE = Suite(
    title="Tiny online",
    track="online",
    scenarios=["Frequency-v0", "Style-v0"],
    agents=["silence", "random", "linucb"],
    seeds=2,
    customers=40,
)


def made(place: Path) -> Path:
    """`place` with the folders `shifted` and `online`; in the first a submission has failed."""
    for name, suite in {"shifted": SHIFTED, "online": ONLINE}.items():
        folder = place / name
        folder.mkdir()
        rows = experiment.run(suite, folder, 1)
        if name == "shifted":
            kept = ("key", "scenario", "digest", "customers", "days", "settings")
            rows.append({each: rows[0][each] for each in kept} | {"agent": "my:Own", "seed": 0, "failed": NASTY})
        worlds = [world_and_law(each)[0] for each in suite.scenarios]
        found = findings(rows, folder, suite.title, f"make {name}", worlds=worlds)
        (folder / NAME).write_text(json.dumps(found))
    return place
