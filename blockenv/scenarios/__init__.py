"""The worlds: what a scenario is made of, the named canon, and scenario files of the user's own."""

from blockenv.scenarios.canon import SCENARIOS
from blockenv.scenarios.files import ScenarioError, ScenarioLike, get, load, save
from blockenv.scenarios.schema import Channel, Record, Scenario, Segment, Style, changed

__all__ = [
    "SCENARIOS",
    "Channel",
    "Record",
    "Scenario",
    "ScenarioError",
    "ScenarioLike",
    "Segment",
    "Style",
    "changed",
    "get",
    "load",
    "save",
]
