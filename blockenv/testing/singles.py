"""Compare a vector environment with as many single environments, step by step.

The strictest check there is: whatever a row of its own environment would have done, the row of the batch must do.
Never asks for equality beyond float32 rounding, as batched and single arithmetic may round differently.
"""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import iterate

from blockenv.testing.compare import Entries, at, difference, info_rows, numeric, step_of
from blockenv.testing.run import AnyVectorEnv, Case, Rows, Run

MakeSingle = Callable[[], gym.Env[Any, Any]]


def check_against_singles(case: Case, make_single: MakeSingle) -> None:
    """Both with the same seeds, actions, autoreset mode and masked resets.

    Raises:
        VectorEnvError: rule `single_environments`, at the first difference.
    """
    singles = SyncVectorEnv([make_single] * case.num_envs, autoreset_mode=case.mode)
    chance = np.random.default_rng(case.seed)
    with closing(singles), closing(case.make()) as env:
        for name in ("single_observation_space", "single_action_space"):
            if getattr(env, name) != getattr(singles, name):
                case.fail("single_environments", f"{name} differs from that of a single environment")
        run = Run(case, env)
        _reset(case, run, singles, None)
        for number in range(case.steps):
            if case.mode is AutoresetMode.DISABLED and run.waiting.any():
                _reset(case, run, singles, run.waiting.copy())
            mask = chance.random(case.num_envs) < 0.05
            if mask.any() and case.asks("reset_mask"):
                _reset(case, run, singles, mask)
            actions = case.actions(number)
            found, expected = run.step(actions), step_of(singles, case.mode, singles.step(actions))
            for row in range(case.num_envs):
                one, other = found.everything(row), expected.everything(row)
                if one["terminated"] and other["terminated"]:
                    other["truncated"] = one["truncated"]  # TimeLimit may truncate on top of a termination
                _compare(case, one, other, number, row)


def _reset(case: Case, run: Run, singles: AnyVectorEnv, mask: Rows | None) -> None:
    seeds: Any = None
    if mask is None:
        seeds = [case.seed + 7 * row + 1 for row in range(case.num_envs)] if case.asks("seed_list") else case.seed
    run.reset(seed=seeds, mask=mask)
    # A dictionary of its own: some versions of SyncVectorEnv remove the mask from it.
    options = None if mask is None else {"reset_mask": mask.copy()}
    observations, info = singles.reset(seed=seeds, options=options)
    rows = zip(iterate(singles.observation_space, observations), info_rows(info, case.num_envs), strict=True)
    for row, (observation, entries) in enumerate(rows):
        found = {"observation after reset": run.observations[row], "info": run.info[row]}
        _compare(case, found, {"observation after reset": observation, "info": entries}, run.number, row)


def _compare(case: Case, found: Entries, expected: Entries, number: int, row: int) -> None:
    found, expected = ({**each, "info": numeric(each["info"])} for each in (found, expected))
    name = difference(expected, found, close=True)
    if name is not None:
        words = f"{name} is {at(found, name)}, of a single environment {at(expected, name)}"
        case.fail("single_environments", words, number, row)
