"""What a firm knows of a customer when they join, and what only the simulator knows: two tables, kept apart."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockenv.dynamics import Traits
from blockenv.scenarios import Scenario
from calibration.logs.events import DAY, NOTHING, Arrays
from calibration.logs.policies import Floats


def people(
    scenario: Scenario, traits: Traits, numbers: NDArray[np.int64], days: int, send_probability: Floats | None
) -> Arrays:
    """The table of customers: times in seconds since the calendar's first day, opt-ins, hints."""
    joined = np.asarray(traits.joined) * DAY
    columns: Arrays = {"customer": numbers, "joined_at": joined, "observed_until": joined + days * DAY}
    for place, channel in enumerate(scenario.channels):
        columns[f"opted_in_{channel.name}"] = np.asarray(traits.opted_in[place])
    for place in range(len(scenario.segments)):
        columns[f"hint_{place + 1}"] = np.asarray(traits.hints[:, place], np.float64)
    if send_probability is not None:
        columns["send_probability"] = send_probability
    return columns


def hidden(scenario: Scenario, traits: Traits, numbers: NDArray[np.int64], left: NDArray[np.int64]) -> Arrays:
    """Segment, the day's end on which the customer left, and every trait; `left` (N,) own day, -1 for never."""
    end = (np.asarray(traits.joined) + left + 1) * DAY - 1
    columns: Arrays = {
        "customer": numbers,
        "segment": np.asarray(traits.segment),
        "left_at": np.where(left == NOTHING, NOTHING, end),
    }
    tables = {
        "open_logit": [channel.name for channel in scenario.channels],
        "buy_logit": [channel.name for channel in scenario.channels],
        "block_log_rate": [channel.name for channel in scenario.channels],
        "background_block": [channel.name for channel in scenario.channels],
        "slot_block": list(scenario.slots),
        "style_block": [style.name for style in scenario.styles],
        "style_buy": [style.name for style in scenario.styles],
        "relevance": list(scenario.products),
    }
    known = {"segment", "joined", "hints", "opted_in", *tables}
    for trait in (name for name in Traits._fields if name not in known):
        columns[trait] = _real(getattr(traits, trait))
    for table, names in tables.items():
        for place, name in enumerate(names):
            columns[f"{table}_{name}"] = _real(getattr(traits, table)[place])
    return columns


def _real(values: Any) -> Floats:
    return np.asarray(values, np.float64)
