"""The Gymnasium face of the simulator: one customer as an `Env`, a population as a `VectorEnv`.

Thin shells around a `Cohort`: they hold seeds and clocks, decide who is reset, and lay out `info`. They compute no
probability, and never replace a customer whom the autoreset mode leaves to the caller.
"""

from blockenv.envs.customer_env import CustomerEnv
from blockenv.envs.population_env import PopulationEnv

__all__ = ["CustomerEnv", "PopulationEnv"]
