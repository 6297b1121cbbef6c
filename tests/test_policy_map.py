"""The map of when to write: it agrees with the planner and with what policies do, and becomes a picture."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from agents import agent_class
from benchmarks.policy_map import best_map, optimal_loads, played_map
from benchmarks.policy_picture import classes
from blockenv import mdp, population
from blockenv.rollout import EVALUATION_SEED
from blockenv.scenarios import get
from scripts.policy_map import app

WORLD = get("Frequency-v0")
PNG = b"\x89PNG\r\n\x1a\n"


class Calm:
    """Sends while true fatigue is below a level: what a cap with full information would do."""

    def meet(self, cohort):
        self.fatigue = np.asarray(cohort.state.fatigue).copy()

    def act(self, observation, action_mask, rng):
        return (self.fatigue < 3).astype(np.int64)


def test_the_best_map_is_that_of_a_plan_without_an_end_in_sight() -> None:
    found = best_map(WORLD, 3)
    traits = population.draw(WORLD, np.array([EVALUATION_SEED], np.uint64), np.array([3]), np.float64)
    (batch,) = mdp.batches(WORLD, traits)
    table = mdp.optimal_table(mdp.Plan(batch, 3000), 0)[0, :, :, -1]
    assert found.action.shape == (17, 11)
    assert (found.action == table).mean() > 0.98  # a tie may fall the other way
    assert 0 < (found.action > 0).mean() < 1
    assert found.channels == ["email"]
    assert classes(WORLD, found) == {"email": [1]}


def test_a_customer_without_channels_has_no_map() -> None:
    world = get("Omnichannel-v0")
    traits = population.draw(world, np.full(500, EVALUATION_SEED, np.uint64), np.arange(500))
    (nobody, *_) = np.flatnonzero(~traits.opted_in.any(axis=0))
    with pytest.raises(ValueError, match=rf"customer: {nobody} of Omnichannel-v0 has opted in to no channel"):
        best_map(world, int(nobody))


def test_what_clones_get_is_counted_where_they_are() -> None:
    found = played_map(Calm(), WORLD, 3, clones=32, days=60)
    levels = np.arange(17)[:, None] < 3
    np.testing.assert_array_equal(found.sends, found.visits * levels)
    assert found.visits[:3].sum() > 0
    assert found.visits[3:].sum() > 0
    assert found.visits.sum() <= 32 * 60


def test_clones_are_told_apart() -> None:
    class Remembers(Calm):
        known: set[int] = set()

        def recognise(self, customers: Any) -> None:
            self.known.update(customers.tolist())

    remembers = Remembers()
    played_map(remembers, WORLD, 3, clones=32, days=2)
    assert len(remembers.known) == 32


def test_clones_share_traits_and_not_luck() -> None:
    weekly = agent_class("weekly")(WORLD)
    first, other = (played_map(weekly, WORLD, each, clones=16, days=120) for each in (3, 4))
    assert (first.visits != other.visits).any()
    again = played_map(weekly, WORLD, 3, clones=16, days=120)
    np.testing.assert_array_equal(first.visits, again.visits)
    assert (first.visits > 0).sum() > 20  # they do not all live the same life


def test_the_best_load_follows_the_plan_of_the_simulator() -> None:
    found = optimal_loads(WORLD, 12)
    traits = population.draw(WORLD, np.full(12, EVALUATION_SEED, np.uint64), np.arange(12), np.float64)
    np.testing.assert_array_equal(found.ideal_load, traits.ideal_load[traits.opted_in.any(axis=0)])
    assert ((found.messages_a_week >= 0) & (found.messages_a_week <= 7)).all()
    assert np.corrcoef(np.log(found.ideal_load), found.messages_a_week)[0, 1] > 0.7


@pytest.mark.parametrize("policy", ["oracle", "weekly"])
def test_the_command_draws(policy: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "map.png"
    few = ["--clones", "8", "--days", "60", "--sample", "6"]
    done = CliRunner().invoke(app, [policy, "--scenario", "Frequency-v0", "--customer", "3", "--out", str(out), *few])
    assert done.exit_code == 0, done.output
    from matplotlib.image import imread

    drawn = imread(io.BytesIO(out.read_bytes()))
    assert out.read_bytes().startswith(PNG)
    assert drawn.shape[1] > (1100 if policy == "oracle" else 1700)
    assert len(np.unique(drawn.reshape(-1, drawn.shape[2]), axis=0)) > 20
