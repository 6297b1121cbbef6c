"""Everything that chooses: rules, bandits and deep learners behind one protocol.

`AGENTS` is the only list of contenders; the command line, the leaderboard and the contract tests iterate it.
`REFERENCES` lists those who are shown more than a contender is, to draw the lines that contenders are held against.
Classes are imported when they are asked for, so that a rule never waits for PyTorch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.agent import Agent

AGENTS: dict[str, str] = {
    "silence": "agents.rules:Silence",
    "random": "agents.rules:Random",
    "greedy": "agents.rules:Greedy",
    "weekly": "agents.rules:Weekly",
    "cap": "agents.caps:FrequencyCap",
    "personal_cap": "agents.personal:PersonalCap",
    "rfm": "agents.caps:RecencyFrequencyMonetary",
    "linucb": "agents.bandits:LinUCB",
    "lints": "agents.bandits:LinTS",
    "linucb_priced": "agents.bandits:PricedLinUCB",
    "lints_priced": "agents.bandits:PricedLinTS",
    "dqn": "agents.dqn:DQNAgent",
    "ppo": "agents.ppo:PPOAgent",
    "ppo_memory": "agents.ppo:RememberingPPOAgent",
}
REFERENCES: dict[str, str] = {
    "oracle": "agents.oracle:Oracle",
    "belief": "agents.belief:Belief",
}
KNOWN = AGENTS | REFERENCES


def agent_class(name: str) -> "type[Agent]":
    """The class of an agent by its name in `AGENTS` or `REFERENCES`, or by `package.module:Class`.

    Raises:
        AgentError: no such agent, or it cannot be imported.
    """
    from agents.agent import AgentError

    path = KNOWN.get(name, name)
    module, _, attribute = path.partition(":")
    if not attribute:
        raise AgentError(f"agent: {name!r} is neither one of {', '.join(KNOWN)} nor of the form package.module:Class")
    try:
        found: type[Agent] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise AgentError(f"agent: {name!r} cannot be imported ({error})") from error
    return found
