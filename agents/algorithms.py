"""PPO and DQN of stable-baselines3, made to handle thousands of customers a step instead of one at a time.

They compute what the originals compute; new is only how rows are handled and, in DQN, how it explores. Around
anything but a `VecEnvAdapter` they must never differ from the originals in what they store.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from agents.n_step import Stretches
from agents.networks import draw_rows
from agents.policies import FactoredDQNPolicy
from agents.vec_env import VecEnvAdapter


class _EpisodeRecords(BaseAlgorithm):
    """Takes the statistics of finished episodes from the rows that ended instead of looking at all N."""

    _emphasis: Callable[[NDArray[Any]], NDArray[Any]] | None

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_emphasis"]

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: NDArray[Any] | None = None) -> None:
        if not isinstance(self.env, VecEnvAdapter):
            super()._update_info_buffer(infos, dones)
            return
        if self.ep_info_buffer is not None:
            latest = self.env.last_final_rows[-self._stats_window_size :]
            self.ep_info_buffer.extend(infos[row]["episode"] for row in latest)


def churn_probability(env: VecEnvAdapter) -> NDArray[np.float32]:
    """(N,) the probability of leaving on the day just lived, also of rows whose episode ended on it.

    Raises:
        ValueError: the environment does not tell.
    """
    info = env.info_arrays
    if "churn_probability" not in info:
        raise ValueError(f"info has {sorted(info)}, expected 'churn_probability' to learn from expected churn")
    probability: NDArray[np.float32] = info["churn_probability"].copy()
    rows = env.last_final_rows
    if rows.size:
        probability[rows] = info["final_info"]["churn_probability"][rows]
    return probability


class BatchedPPO(_EpisodeRecords, PPO):
    """PPO whose rollouts bootstrap all episodes cut off in a step by one pass of the critic.

    The original asks the critic once for every such row, which can take a fifth of its time. Same arguments,
    same rollout buffer (to float rounding), same saved files. It falls back to the original's rollout around
    any other ``VecEnv`` and for continuous actions.

    Args:
        policy: as in ``PPO``.
        env: as in ``PPO``.
        expected_churn: weigh what follows by the probability of staying instead of by whether the customer
            happened to stay. The same expectation without the coin flip, which costs a whole lifetime's value
            and so drowns the effect of a message; needs ``info["churn_probability"]``.
        emphasis: how much each row's advantages count, ``(M,)`` from observations ``(M, d)``.
        entropy_falls: let the weight of the entropy fall linearly to zero, as learning rates do.
        kwargs: as in ``PPO``.
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        expected_churn: bool = False,
        emphasis: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
        entropy_falls: bool = False,
        **kwargs: Any,
    ) -> None:
        self.expected_churn = expected_churn
        self._emphasis = emphasis
        super().__init__(policy, env, **kwargs)
        self.entropy_falls_from = self.ent_coef if entropy_falls else None

    def train(self) -> None:
        """Update from the rollout just collected."""
        if self.entropy_falls_from is not None:
            self.ent_coef = self.entropy_falls_from * self._current_progress_remaining
        super().train()

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with ``n_rollout_steps`` steps of every row; False if the callback stopped it."""
        if not isinstance(env, VecEnvAdapter) or not isinstance(self.action_space, spaces.Discrete):
            return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        last_obs: Any = self._last_obs
        starts: Any = self._last_episode_starts
        leaving: list[NDArray[np.float32]] = []
        for _ in range(n_rollout_steps):
            with th.no_grad():
                actions, values, log_probs = self.policy(obs_as_tensor(last_obs, self.device))
            actions = actions.cpu().numpy()
            new_obs, rewards, dones, infos = env.step(actions)
            self.num_timesteps += env.num_envs
            # Callbacks read the original's local names: rewards, dones, infos and so on.
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            leaving.append(self._bootstrap(env, rewards))
            rollout_buffer.add(last_obs, actions.reshape(-1, 1), rewards, starts, values, log_probs)
            self._last_obs = last_obs = new_obs  # type: ignore[assignment]
            self._last_episode_starts = starts = dones
        with th.no_grad():
            values = self.policy.predict_values(obs_as_tensor(last_obs, self.device))
        if self.expected_churn:
            follows = np.concatenate([rollout_buffer.values[1:], values.cpu().numpy().reshape(1, -1)])
            rollout_buffer.rewards -= self.gamma * np.array(leaving) * follows
        rollout_buffer.compute_returns_and_advantage(last_values=values, dones=starts)
        if self._emphasis is not None:
            for day, seen in enumerate(rollout_buffer.observations):
                rollout_buffer.advantages[day] *= self._emphasis(seen)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _bootstrap(self, env: VecEnvAdapter, rewards: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add, in place, the discounted value of what would have followed where an episode was cut off.

        With expected churn a departure cuts off just as the time limit does, and what follows is weighed by the
        probability of staying. Returns that of leaving, (N,), for the rows that go on: zero without expected churn.
        """
        rows = env.last_final_rows
        leaving = churn_probability(env) if self.expected_churn else np.zeros(env.num_envs, np.float32)
        cut_off = np.ones(len(rows), bool) if self.expected_churn else env.last_truncated[rows]
        if cut_off.any():
            final = obs_as_tensor(env.last_final_observations[cut_off], self.device)
            with th.no_grad():
                values = self.policy.predict_values(final).cpu().numpy().flatten()
            rewards[rows[cut_off]] += self.gamma * (1.0 - leaving[rows[cut_off]]) * values
        leaving[rows] = 0.0
        return leaving


class BatchedDQN(_EpisodeRecords, DQN):
    """DQN that explores row by row, among what can be sent, and mostly by silence.

    The original tosses one coin for all rows and then draws uniformly: with 135 messages an exploring
    customer is written to every day. With a ``FactoredDQNPolicy`` an exploring row is silent with probability
    ``exploration_silence`` and otherwise sends a message drawn uniformly among the legal ones (silent if
    there is none); with any other policy it draws uniformly among all actions.

    ``gradient_steps`` are updates after every ``train_freq`` (here by default 1) steps of all rows. As in the
    original, ``learning_starts``, ``buffer_size`` and ``target_update_interval`` count steps of single rows,
    so the last should be a multiple of the number of rows; ``n_steps`` above 1 learns from n-step returns.
    Episodes cut off by the time limit are bootstrapped from their true last observation.

    Args:
        policy: as in ``DQN``.
        env: as in ``DQN``.
        exploration_silence: probability of silence in an exploring row.
        expected_churn: see ``BatchedPPO``; a transition's ``done`` is then the probability of leaving.
        emphasis: how much each row's errors count, ``(M,)`` from observations ``(M, d)``.
        kwargs: as in ``DQN``.

    Raises:
        ValueError: if ``exploration_silence`` is no probability, or ``gradient_steps`` is negative, which in
            the original means one update a row and step.
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        exploration_silence: float = 0.8,
        expected_churn: bool = False,
        emphasis: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        if not 0 <= exploration_silence <= 1:
            raise ValueError(f"exploration_silence is {exploration_silence}, expected a number from 0 to 1")
        if kwargs.get("gradient_steps", 1) < 0:
            raise ValueError(f"gradient_steps is {kwargs['gradient_steps']}, expected 0 or more")
        self.exploration_silence = exploration_silence
        self.expected_churn = expected_churn
        self._emphasis = emphasis
        self.stretches: Stretches | None = None
        super().__init__(policy, env, **{"train_freq": 1} | kwargs)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Update from the buffer by double Q-learning (van Hasselt et al. 2016) and squared errors.

        Not the original's Huber loss: it forgives large errors, and a block is a rare and large loss.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses = []
        for _ in range(gradient_steps):
            data = self.replay_buffer.sample(batch_size)  # type: ignore[union-attr]
            discounts = self.gamma if data.discounts is None else data.discounts
            with th.no_grad():
                best = self.q_net._predict(data.next_observations)
                follows = self.q_net_target(data.next_observations).gather(1, best.unsqueeze(1))
                target = data.rewards + (1.0 - data.dones) * discounts * follows
            values = self.q_net(data.observations).gather(1, data.actions.long())
            errors = (values - target).square().squeeze(1)
            if self._emphasis is not None:
                counts = self._emphasis(data.observations.cpu().numpy())
                errors = errors * th.as_tensor(counts / counts.mean(), device=self.device)
            loss = errors.mean()
            self.policy.optimizer.zero_grad()
            loss.backward()
            th.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
            losses.append(loss.detach())
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", float(th.stack(losses).mean()) if losses else 0.0)

    def _setup_model(self) -> None:
        if self.expected_churn:
            self.stretches, self.n_steps = Stretches(self.n_steps, self.gamma), 1
        # The original saves the class it chose itself and then warns on loading that somebody has chosen it.
        if self.n_steps > 1 and self.replay_buffer_class is NStepReplayBuffer:
            self.replay_buffer_class = None
        super()._setup_model()

    def predict(
        self,
        observation: Any,
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Actions ``(N,)`` for observations ``(N, d)``, or one for one; some explore unless deterministic."""
        if deterministic:
            return self.policy.predict(observation, state, episode_start, deterministic=True)
        tensor, is_batch = self.policy.obs_to_tensor(observation)
        actions = self._choose(tensor, self.exploration_rate)
        return (actions if is_batch else actions.squeeze(0)), state

    def _sample_action(
        self,
        learning_starts: int,
        action_noise: ActionNoise | None = None,
        n_envs: int = 1,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        tensor, _ = self.policy.obs_to_tensor(self._last_obs)  # type: ignore[arg-type]
        actions = self._choose(tensor, 1.0 if self.num_timesteps < learning_starts else self.exploration_rate)
        return actions, actions

    @th.no_grad()
    def _choose(self, observations: Any, exploration_rate: float) -> NDArray[np.int64]:
        self.policy.set_training_mode(False)
        explores = th.rand(len(observations), device=self.device) < exploration_rate
        actions = th.empty(len(observations), dtype=th.int64, device=self.device)
        # The network is asked only for the rows that need it.
        actions[~explores] = self.policy(observations[~explores])
        actions[explores] = self._explore(observations[explores])
        return actions.cpu().numpy()

    def _explore(self, observations: th.Tensor) -> th.Tensor:
        if not isinstance(self.policy, FactoredDQNPolicy):
            count = int(self.action_space.n)  # type: ignore[attr-defined]
            return th.randint(count, (len(observations),), device=self.device)
        weights = self.policy.legal_actions(observations).float()
        weights[:, 0] = 0.0
        messages = weights.sum(1)
        weights *= (1.0 - self.exploration_silence) / messages.clamp(min=1.0).unsqueeze(1)
        weights[:, 0] = th.where(messages > 0, self.exploration_silence, 1.0)
        return draw_rows(weights)

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: NDArray[Any],
        new_obs: Any,
        reward: NDArray[Any],
        dones: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        env = self.env
        # A buffer of somebody else's may want to see every info.
        known_buffer = type(replay_buffer) in (ReplayBuffer, NStepReplayBuffer)
        if not isinstance(env, VecEnvAdapter) or not known_buffer:
            super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
            return
        next_obs = new_obs.copy()
        next_obs[env.last_final_rows] = env.last_final_observations
        if self.stretches is not None:
            seen: Any = self._last_obs
            leaving = churn_probability(env)
            stretch = self.stretches.add(seen, buffer_action, reward, leaving, next_obs, env.last_final_rows)
            if stretch is not None:
                # `train` discounts by gamma, so what is stored is the rest of the stretch's discount.
                done = 1.0 - stretch.discount / self.gamma
                replay_buffer.add(
                    stretch.observation, stretch.next_observation, stretch.action, stretch.reward, done, infos=[{}]
                )
            self._last_obs = new_obs
            return
        # One info instead of N, because the buffer would look through them for the time limits set below.
        last_obs: Any = self._last_obs
        replay_buffer.add(last_obs, next_obs, buffer_action, reward, dones, infos=[{}])
        if replay_buffer.handle_timeout_termination:
            replay_buffer.timeouts[replay_buffer.pos - 1] = env.last_truncated
        self._last_obs = new_obs
