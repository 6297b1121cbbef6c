"""A deep agent that learns from the customers it serves, by what a firm can see of them and nothing else.

It is told nothing of departures and nothing of the hidden state: a row is one customer for ever, and who has left looks
like somebody who does not buy.
"""

import numpy as np
import torch as th
from torch import Tensor

from agents.agent import AgentError
from agents.on_tensors import HEARD, TensorAgent
from agents.rules import Actions, Mask, Observation
from agents.tensor_learning import TensorLearning, lived_on


class Serving:
    """PPO or DQN that begins with nothing and learns every day; a `blockenv.policies.Student`.

    What a day came to is known when the next one is seen, so an evening is learned from on the morning after.
    """

    def __init__(self, agent: TensorAgent, seed: int) -> None:
        """Begin with nothing.

        Args:
            agent: with settings of `TensorSettings.while_serving`, for a scenario that shows its log alone.
            seed: of the training run: first weights, and the coins of the policy.

        Raises:
            AgentError: settings or a scenario by which it would have to be told what nobody sees.
        """
        for name, expected in HEARD.items():
            found = getattr(agent.settings, name)
            if found != expected:
                raise AgentError(f"{name}: {found!r}, expected {expected!r} while serving")
        if agent.scenario.observe != "log":
            raise AgentError(f"observe: {agent.scenario.observe!r}, expected 'log' while serving")
        self._agent, self._seed = agent, seed
        self._learner: TensorLearning | None = None
        self._money: Tensor | None = None  # (N,) heard last evening

    def act(self, observation: Observation, action_mask: Mask, rng: np.random.Generator) -> Actions:
        """Choose by the learner's own coins, which differ between training seeds; closed channels are seen to be closed.

        Raises:
            AgentError: there are other rows than on the first morning, or nothing was heard of the day before.
        """
        agent = self._agent
        seen = th.as_tensor(np.array(observation[:, : agent.width], np.float32), device=agent.device)
        if self._learner is None:
            self._learner = agent.begin(seen, self._seed)
        elif len(seen) != len(self._learner.morning):
            raise AgentError(
                f"observation: {len(seen)} rows, expected the {len(self._learner.morning)} of the first day"
            )
        elif self._money is None:
            raise AgentError("act: nothing was heard of the day before, expected `hear` every evening")
        else:
            self._learner.take(lived_on(seen, self._money))
        self._money = None
        return np.asarray(self._learner.choose().cpu().numpy())

    def hear(self, observation: Observation, action: Actions, reward: Observation, closed: Actions) -> None:
        """Take note of the money; the channels that are closed are seen tomorrow."""
        self._money = th.as_tensor(np.array(reward, np.float32), device=self._agent.device)
