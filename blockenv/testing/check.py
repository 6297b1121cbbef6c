"""Play a vector environment again and again, and compare the runs with each other and with single environments.

Every function checks one promise by comparing runs that must agree. Never changes the environment it is given.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from blockenv.testing.compare import Step, arrays, difference, equal, indices, kind
from blockenv.testing.rules import RULES, VectorEnvError
from blockenv.testing.run import AnyVectorEnv, Case, Run
from blockenv.testing.singles import MakeSingle, check_against_singles

MakeVector = Callable[[int, AutoresetMode], AnyVectorEnv]


def check_vector_env(
    make: MakeVector,
    make_single: MakeSingle | None = None,
    *,
    num_envs: int = 4,
    steps: int = 200,
    seed: int = 0,
    modes: Collection[AutoresetMode] = tuple(AutoresetMode),
    skip: Collection[str] = (),
) -> None:
    """Play a vector environment in every autoreset mode and compare what it does with what `RULES` promise.

    Args:
        make: called with the number of rows and the mode. Episodes should be short, so that many end within
            `steps`, and truncated by a time limit or not at all.
        make_single: the same environment for one row; N of them in a `SyncVectorEnv` must do the same step by step.
        num_envs: rows N, at least 2.
        steps: of one run, at least 10; about ten runs are made in every mode.
        seed: of the environments and of the random actions.
        modes: the autoreset modes that the environment supports.
        skip: names of `RULES` that are not required; nothing is done that only they would need.

    Raises:
        VectorEnvError: an `AssertionError` that says which rule was broken, in which mode, step and row.
        ValueError: an argument out of range.
    """
    unknown = sorted(set(skip) - set(RULES))
    if unknown:
        raise ValueError(f"skip: {unknown} not among {', '.join(RULES)}")
    for name, number, least in (("num_envs", num_envs, 2), ("steps", steps, 10), ("modes", len(modes), 1)):
        if number < least:
            raise ValueError(f"{name}: {number}, expected at least {least}")
    if "reset_mask" in skip and AutoresetMode.DISABLED in modes:
        raise ValueError("skip: 'reset_mask' is needed in DISABLED mode, leave that mode out of modes as well")
    _check_attributes(make, num_envs, modes, skip)
    cases = {mode: Case(make, mode, num_envs, steps, seed, skip) for mode in modes}
    plain = {mode: _check_mode(case) for mode, case in cases.items()}
    if "final_obs" not in skip:
        _check_modes_agree(plain)
    if make_single is not None and "single_environments" not in skip:
        for case in cases.values():
            check_against_singles(case, make_single)


def _check_attributes(make: MakeVector, num_envs: int, modes: Collection[AutoresetMode], skip: Collection[str]) -> None:
    envs = {mode: make(num_envs, mode) for mode in modes}  # side by side, so that metadata they share shows
    for mode, env in envs.items():
        problems: list[tuple[str, str]] = []
        if not isinstance(env, VectorEnv):
            raise VectorEnvError("spaces", f"make returned {kind(env)}, expected a VectorEnv", mode)
        if env.num_envs != num_envs:
            problems.append(("spaces", f"num_envs is {env.num_envs}, asked for {num_envs}"))
        for name in ("observation_space", "action_space"):
            single = getattr(env, f"single_{name}", None)
            if not isinstance(single, gym.Space):
                problems.append(("spaces", f"single_{name} is {kind(single)}, expected a Space"))
            elif getattr(env, name, None) != batch_space(single, num_envs):
                problems.append(("spaces", f"{name} is not batch_space(single_{name}, {num_envs})"))
        if env.closed is not False:
            problems.append(("spaces", f"closed is {env.closed!r} in a new environment"))
        found = env.metadata.get("autoreset_mode")
        if found is not mode:
            problems.append(("autoreset_mode", f"metadata['autoreset_mode'] is {found!r}, asked for {mode!r}"))
        for rule, words in problems:
            if rule not in skip:
                raise VectorEnvError(rule, words, mode)
    for env in envs.values():
        env.close()


def _check_mode(case: Case) -> list[Step]:
    """Everything in one mode that needs no other environment; returns the plain run."""
    with closing(case.make()) as env:
        plain = list(_play(case, env))
        if not any(step.done.any() for step in plain):
            case.fail("episodes_end", f"no episode ended within {case.steps} steps, make shorter ones")
        _compare(case, plain, _play(case, env), "determinism", "differs after seeding the same environment again")
    _rerun(case, plain, "determinism", "differs in a second environment with the same seed and actions")
    if case.mode is AutoresetMode.NEXT_STEP:
        _rerun(case, plain, "autoreset", "depends on the action in a step that resets", other_actions=True)
    if case.mode is AutoresetMode.DISABLED and case.asks("autoreset"):
        _check_refusal(case)
    if case.asks("shared_memory"):
        _check_memory(case)
        _rerun(case, plain, "shared_memory", "changes if the caller writes into earlier results", scribble=True)
    if case.asks("seed_list"):
        _check_seed_list(case)
    if case.asks("reset_mask"):
        _check_masked_resets(case)
    if case.asks("independent_rows"):
        _check_independence(case, 0)
        _check_independence(case, case.num_envs - 1)
    return plain


def _play(case: Case, env: AnyVectorEnv, other_actions: bool = False, scribble: bool = False) -> Iterator[Step]:
    """A run from the seed on, with other actions where they must not matter, writing into what comes back."""
    run = Run(case, env)
    run.reset(seed=case.seed)
    for number in range(case.steps):
        run.reset_waiting()
        yield run.step(case.actions(number, run.waiting if other_actions else None))
        for _, array in arrays(run.returned) if scribble else ():
            if array.flags.writeable and array.dtype != object:
                array[...] = ~array if array.dtype == bool else 7


def _rerun(case: Case, plain: list[Step], rule: str, found: str, **how: bool) -> None:
    with closing(case.make()) as env:
        try:
            _compare(case, plain, _play(case, env, **how), rule, found)
        except VectorEnvError as error:
            if error.rule == rule:
                raise
            # The plain run kept this other rule, so it is the difference between the runs that broke it.
            raise VectorEnvError(rule, f"the episode {found}: {error}", error.mode, error.step, error.row) from error


def _compare(case: Case, plain: list[Step], again: Iterator[Step], rule: str, found: str) -> None:
    for number, (first, second) in enumerate(zip(plain, again, strict=True)):
        for row in range(case.num_envs):
            name = difference(first.everything(row), second.everything(row))
            if name is not None:
                case.fail(rule, f"{name} {found}", number, row)


def _check_refusal(case: Case) -> None:
    """A step in a finished row is an error, or a reset that the caller forgot goes unnoticed."""
    with closing(case.make()) as env:
        run = Run(case, env)
        run.reset(seed=case.seed)
        while not run.waiting.any() and run.number < case.steps:
            run.step(case.actions(run.number))
        if run.waiting.any():
            try:
                env.step(case.actions(run.number))
            except Exception:
                return
            row = indices(run.waiting)[0]
            case.fail("autoreset", "a finished row took a step, expected an error", run.number, row)


def _check_memory(case: Case) -> None:
    """Everything returned is kept alive here, so memory that was seen before was handed out twice."""
    owners: dict[int, list[tuple[int, str, NDArray[Any]]]] = {}
    kept: list[tuple[int, str, NDArray[Any], NDArray[Any]]] = []
    with closing(case.make()) as env:
        run = Run(case, env)
        run.reset(seed=case.seed)
        for number in range(case.steps):
            run.reset_waiting()
            run.step(case.actions(number))
            for name, array in arrays(dict(zip(Step._fields[1:], run.returned, strict=True))):
                if not array.flags.writeable and 0 in array.strides:
                    continue  # a constant without memory of its own, such as a mask that is True in every row
                owner = array
                while isinstance(owner.base, np.ndarray):
                    owner = owner.base
                for before, other_name, other in owners.setdefault(id(owner), []):
                    if before != number and np.shares_memory(array, other):
                        case.fail("shared_memory", f"{name} shares memory with {other_name} of step {before}", number)
                owners[id(owner)].append((number, name, array))
                kept.append((number, name, array, array.copy()))
    for number, name, array, copy in kept:
        if not equal(array, copy):
            case.fail("shared_memory", f"{name} was overwritten later", number)


def _check_seed_list(case: Case) -> None:
    own = [case.seed + 7 * row + 1 for row in range(case.num_envs)]
    changed = [own[0], *(each + 1000 for each in own[1:])]
    starts = []
    for seeds in (own, own, changed):
        with closing(case.make()) as env:
            run = Run(case, env)
            try:
                run.reset(seed=seeds)
            except VectorEnvError:
                raise
            except Exception as error:
                raise VectorEnvError("seed_list", f"reset(seed={seeds}) raised {error!r}", case.mode) from error
            starts.append(run.observations)
            if seeds is changed and case.asks("reset_mask"):
                run.step(case.actions(0))
                run.reset(seed=own, mask=~case.only(0))
                for row in range(1, case.num_envs):
                    if not equal(starts[0][row], run.observations[row]):
                        case.fail("seed_list", "starts otherwise after a masked reset with the same seed", 1, row)
    for row in range(case.num_envs):
        if not equal(starts[0][row], starts[1][row]):
            case.fail("seed_list", "the same seeds give another start", 0, row)
    if not equal(starts[0][0], starts[2][0]):
        case.fail("seed_list", "the start depends on the seeds of other rows", 0, 0)


def _check_masked_resets(case: Case) -> None:
    """Rows restarted at odd times, while `Run` watches the other rows and everybody's episode lengths."""
    chance = np.random.default_rng(case.seed)
    with closing(case.make()) as env:
        run = Run(case, env)
        run.reset(seed=case.seed)
        for number in range(case.steps):
            run.reset_waiting()
            mask = chance.random(case.num_envs) < 0.1
            if mask.any():
                run.reset(mask=mask)
            run.step(case.actions(number))


def _check_independence(case: Case, row: int) -> None:
    """The same episode beside quiet neighbours, and beside neighbours that act otherwise and are reset all the time."""
    episodes = []
    for busy in (False, True):
        with closing(case.make()) as env:
            run = Run(case, env)
            run.reset(seed=case.seed)
            if case.asks("reset_mask"):
                for number in range(3):  # the row falls behind, so that the others finish in the middle of its episode
                    run.reset_waiting()
                    run.step(case.actions(number))
                run.reset(mask=case.only(row))
            episode: list[Step] = []
            while len(episode) < case.steps and not (episode and episode[-1].done[row]):
                run.reset_waiting()
                if busy and case.asks("reset_mask") and len(episode) % 3 == 1:
                    run.reset(mask=~case.only(row))
                episode.append(run.step(case.actions(run.number, ~case.only(row) if busy else None)))
            episodes.append(episode)
    for number, (first, second) in enumerate(zip(*episodes, strict=False)):
        name = difference(first.life(row), second.life(row))
        if name is not None:
            found = f"{name} of step {number} of its episode depends on what other rows do or when they are reset"
            case.fail("independent_rows", found, row=row)


def _check_modes_agree(plain: dict[AutoresetMode, list[Step]]) -> None:
    """Until somebody is reset, modes differ only in where the last observation of an episode is found."""
    modes = sorted(plain, key=lambda mode: mode is AutoresetMode.SAME_STEP)
    for mode in modes[1:]:
        for number, (first, second) in enumerate(zip(plain[modes[0]], plain[mode], strict=True)):
            for row in range(len(first.reward)):
                name = difference(first.life(row), second.life(row))
                if name is not None:
                    final = mode is AutoresetMode.SAME_STEP and second.done[row] and name.startswith("observation")
                    found = f"{'final_obs' if final else name} differs from the {name} in {modes[0].name} mode"
                    raise VectorEnvError("final_obs" if final else "autoreset", found, mode, number, row)
            if first.done.any():
                break
