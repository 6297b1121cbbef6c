"""Check that a vector environment keeps the promises its users rely on; Gymnasium checks single environments only.

Knows nothing of this simulator and imports nothing of it, so that any `VectorEnv` can be checked. Never leaves a rule
out unless it is named in `skip`, and never passes an environment in which nothing happened that could be judged.
"""

from blockenv.testing.check import check_vector_env
from blockenv.testing.rules import RULES, VectorEnvError

__all__ = ["RULES", "VectorEnvError", "check_vector_env"]
