"""Trains the agent of a cell, or takes it from where an equal one was kept.

Only agents that play elsewhere than where they learned are kept: they play in many worlds, and learn once.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from agents import agent_class
from agents.agent import Agent, AgentError, Counter
from benchmarks.cells import Cell
from benchmarks.code import code_of


def trained(cell: Cell, folder: Path) -> tuple[Agent, int]:
    """The agent of a cell, and the customer-days that it learned from; what is kept goes to `folder`/trained."""
    world = cell.home or cell.world
    kind = agent_class(cell.agent)
    settings = kind.Settings.model_validate(cell.settings)
    school = folder / "trained" / _key(cell)
    if cell.home is not None:
        try:
            return kind.load(school, world), int(json.loads((school / "steps.json").read_text(encoding="utf-8")))
        except (AgentError, OSError, ValueError):  # nobody has learned there yet, or what is kept is damaged
            shutil.rmtree(school, ignore_errors=True)
    agent, counter = kind(world, settings), Counter()
    agent.fit(cell.seed, counter)
    if cell.home is not None:
        _keep(agent, counter.steps, school)
    return agent, counter.steps


def _keep(agent: Agent, steps: int, school: Path) -> None:
    """All of it or nothing, also where two workers keep the same agent at once."""
    school.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=school.parent, prefix=f".{school.name}."))
    try:
        agent.save(scratch)
        (scratch / "steps.json").write_text(json.dumps(steps), encoding="utf-8")
        os.replace(scratch, school)
    except OSError:
        if not school.exists():
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _key(cell: Cell) -> str:
    # The agent's own code: what changes the game elsewhere does not change how it learns at home.
    world, code = cell.home or cell.world, code_of(agent_class(cell.agent))
    content = json.dumps([world.digest, cell.agent, cell.seed, cell.settings, code], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
