"""Settings with which any agent learns in a moment: too little to know anything, enough to go through all motions."""

from typing import Any

from agents import agent_class
from agents.agent import parsed

TINY_DEEP: dict[str, Any] = {
    "steps": 512,
    "envs": 16,
    "rollout": 8,
    "batch": 64,
    "buffer": 512,
    "warm_up": 64,
    "hidden": [8],
    "critic_hidden": [8],
    "stretch": 3,
    "device": "cpu",
}
TINY: dict[str, Any] = TINY_DEEP | {
    "customers": 8,
    "days": 7,
    "trial_customers": 8,
    "trial_days": 7,
    "judges": 32,
    "judged_days": 7,
    "prices": [0.5, 8.0],
}


def tiny(name: str, **changes: Any) -> Any:
    """Settings of an agent of `AGENTS`: those of `TINY` that it has, and `changes`."""
    return parsed(agent_class(name).Settings, known(name, TINY) | changes, name)


def known(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Those of `values` that are settings of the agent."""
    return {key: value for key, value in values.items() if key in agent_class(name).Settings.model_fields}
