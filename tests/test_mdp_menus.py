"""Messages that are left out of the search for the best: only those that cannot be it, in any world."""

from typing import Any

import numpy as np
import pytest

from blockenv import mdp
from blockenv.mdp.backup import Backup
from blockenv.mdp.menus import full_menu, undominated_menu
from blockenv.scenarios import SCENARIOS, get
from tests.test_mdp import drawn


@pytest.mark.parametrize("name", SCENARIOS)
def test_shorter_menus_lose_nothing(name: str) -> None:
    scenario = SCENARIOS[name]
    for batch in mdp.batches(scenario, drawn(scenario, 6), tile=3)[:6]:
        value = np.zeros(batch.shape)
        best, full = mdp.Best(batch), Backup(batch)
        for day in range(24, -1, -1):
            found, expected = best.value(day, value), full.silence(day, value)
            for place in range(batch.places):
                worth = full.worth(day, full.planes(value, place + 1), place + 1)
                masks = (np.arange(batch.shape[3]) >> place) & 1 == 1
                top = np.moveaxis(worth.max(axis=-2), (1, 4), (2, 3)).reshape(*batch.shape[:3], -1)
                expected[..., masks] = np.maximum(expected[..., masks], top)
            np.testing.assert_allclose(found, expected, rtol=1e-13)
            value = expected


def test_most_messages_are_beaten_by_another_once_the_customer_is_known() -> None:
    scenario = SCENARIOS["Omnichannel-v0"]
    kept = [
        undominated_menu(batch, place).first.sum(axis=1).mean()
        for batch in mdp.batches(scenario, drawn(scenario, 60))
        for place in range(batch.places)
    ]
    assert 1.0 <= float(np.mean(kept)) < 3.0  # of 27


def test_a_message_left_out_is_back_where_a_block_is_welcome() -> None:
    """Nobody can be sold anything, and open channels only endanger the bond: blocking early is what serves best."""
    scenario = get(
        {
            "base": "Timing-v0",
            "name": "Nuisance-v0",
            "channels": [{**SCENARIOS["Timing-v0"].channels[0].model_dump(), "buy_logit": -20.0, "cost": 0.0,
                          "background_share": 1.0, "block_probability": 0.05}],
            "bond": {"block": 0.0, "relevant_open": 0.0, "overload": 0.0, "order": 0.0},
            "response": {"churn_probability": 0.01},
            "segments": [{**segment.model_dump(), "churn_contact": -2.0, "reciprocity": 0.0}
                         for segment in SCENARIOS["Timing-v0"].segments],
        }
    )  # fmt: skip
    batch = mdp.batches(scenario, drawn(scenario, 1))[0]
    short, full = undominated_menu(batch, 0), full_menu(batch, 0)
    assert short.actions.shape[1] == 1
    assert full.actions.shape[1] == 3
    # A channel that is better shut: tomorrow's value falls with every open channel.
    later = np.zeros(batch.shape)
    later[..., 0] = 100.0
    worst = int(batch.traits.slot_block[:, 0].argmax()) + 1
    assert worst not in short.actions
    chosen = mdp.Best(batch).action(0, later)
    assert (chosen[..., 1] == worst).any()


@pytest.mark.parametrize("background", [0.0, 0.5])
def test_one_more_channel_never_hurts_unless_it_is_blocked_by_itself(background: float) -> None:
    """With background blocks an idle channel is a danger to the bond, so the optimum need not grow with channels."""
    world = SCENARIOS["Style-v0"]
    scenario = get(
        {
            "base": "Style-v0",
            "name": "Idle-v0",
            "channels": [{**each.model_dump(), "background_share": background, "cost": 0.5} for each in world.channels],
        }
    )
    gains = []
    for batch in mdp.batches(scenario, drawn(scenario, 12)):
        value = mdp.optimal_value(batch, 120)
        gains += [(value[..., 3] - value[..., 1]).min(), (value[..., 1] - value[..., 0]).min()]
    assert bool(min(gains) >= -1e-9) == (background == 0.0)


def test_where_opening_hurts_the_message_that_is_opened_more_is_not_preferred() -> None:
    """Contact keeps customers, but every open of this irrelevant news wears the bond: best is what nobody opens."""
    timing = SCENARIOS["Timing-v0"]
    segment: dict[str, Any] = {**timing.segments[0].model_dump(), "relevance": {"any": 0.0}, "churn_contact": -3.0}
    scenario = get(
        {
            "base": "Timing-v0",
            "name": "Irrelevant-v0",
            "channels": [{**timing.channels[0].model_dump(), "buy_logit": -20.0, "cost": 0.0, "open_logit": 1.0,
                          "block_probability": 1e-9}],
            "bond": {"relevant_open": 1.0, "neutral_relevance": 1.0, "half_life": 1000.0},
            "response": {"churn_probability": 0.05, "churn_bond": 3.0, "open_slot": 3.0},
            "segments": [{**segment, "organic_rate": 0.2, "slot_block": {"commute": 1.5, "work": 0.0, "evening": -1.5}}],
        }
    )  # fmt: skip
    batch = mdp.batches(scenario, drawn(scenario, 1))[0]
    ignored = int(batch.traits.slot_block[:, 0].argmax()) + 1
    assert ignored in undominated_menu(batch, 0).actions
    table = mdp.optimal_table(mdp.Plan(batch, 30), 0)
    assert (table[..., 1] == ignored).any()
