"""What a vector environment promises, in words, and the error that says which promise was broken where.

The words are all there is here: never a check itself.
"""

from gymnasium.vector import AutoresetMode

RULES = {
    "spaces": "num_envs, closed, metadata and the four spaces describe the batch; batched spaces come from batch_space",
    "autoreset_mode": "metadata['autoreset_mode'] is the AutoresetMode of this very instance",
    "returned_types": "reset gives (obs, info), step (obs, reward, terminated, truncated, info), one entry a row",
    "observation_space": "every observation lies in its space and has its dtype",
    "info_mask": "every key of info has one entry a row and a boolean mask '_key' (num_envs,), in nested dicts too",
    "determinism": "the same seed and actions give the same episodes, in a new environment and after seeding again",
    "seed_list": "reset takes one seed a row, and how a row starts depends on its own seed only",
    "reset_mask": "options['reset_mask'] resets the rows that are True, changes no other row, and stays in options",
    "autoreset": "finished rows are reset as the mode says: in the next step, in the same step, or by the caller",
    "final_obs": "in SAME_STEP mode final_obs and final_info hold the end of finished episodes, masked by who finished",
    "episode_length": "the step counter of a row restarts with its episode: a time limit allows equally many steps",
    "independent_rows": "the episode of a row depends neither on what other rows do nor on when they are reset",
    "shared_memory": "what was returned is the caller's: never overwritten later, and never read again",
    "episodes_end": "at least one episode ends while being watched, or resets cannot be judged",
    "single_environments": "a row does exactly what a single environment of the same seed does",
}


class VectorEnvError(AssertionError):
    """A broken rule of `RULES`, and the mode, step and row in which it was broken (None where there is none).

    Steps are counted from the start of the run that found it; step t is the t-th call of `step`, from 0.
    """

    def __init__(
        self,
        rule: str,
        found: str,
        mode: AutoresetMode | None = None,
        step: int | None = None,
        row: int | None = None,
    ) -> None:
        self.rule, self.mode, self.step, self.row = rule, mode, step, row
        place = [] if mode is None else [f"{mode.name} mode"]
        place += [f"{name} {number}" for name, number in (("step", step), ("row", row)) if number is not None]
        super().__init__(f"{rule}: {', '.join(place)}: {found}. The rule: {RULES[rule]}.")
