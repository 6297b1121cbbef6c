"""Tells whoever watches a deep learner what becomes of its customers while it learns.

It only looks: nothing that is learned may depend on it.
"""

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from agents.agent import Monitor
from agents.algorithms import BatchedPPO
from agents.vec_env import VecEnvAdapter


class Watch(BaseCallback):
    """Adds up what happened to the customers and hands it to the monitor between two updates."""

    def __init__(self, monitor: Monitor, total: int) -> None:
        super().__init__()
        self._monitor = monitor
        self._total = total
        self._told = 0
        self._sums: dict[str, float] = {}
        self._days = 0

    def _on_training_start(self) -> None:
        self._told = self.num_timesteps

    def _on_step(self) -> bool:
        env = self.training_env
        assert isinstance(env, VecEnvAdapter)
        info, ended = env.info_arrays, env.info_arrays.get("final_info", {})
        rows = env.last_final_rows
        for name in ("sent", "blocked", "expected_reward", "message_cost", "ordered", "reachable"):
            total = float(info[name].sum())
            if rows.size and name != "reachable":
                total += float(ended[name][rows].sum())
            self._sums[name] = self._sums.get(name, 0.0) + total
        self._days += env.num_envs
        return True

    def _on_rollout_start(self) -> None:
        # Here the model has just been updated and nothing has been collected: the only moment to keep it at.
        steps = self.num_timesteps
        due = steps - self._told >= max(self._total // 200, 1) or isinstance(self.model, BatchedPPO)
        if self._days and due:
            self._told = steps
            self._monitor.advance(steps, self._total, self._metrics())
            self._sums, self._days = {}, 0

    def _metrics(self) -> dict[str, float]:
        metrics = {
            name: float(value)
            for name, value in self.logger.name_to_value.items()
            if isinstance(value, int | float | np.number)
        }
        sums, days = self._sums, self._days
        metrics |= {
            "clv/expected_reward_a_day": sums["expected_reward"] / days,
            "clv/messages_a_week": 7.0 * sums["sent"] / days,
            "clv/blocks_per_1000_messages": 1e3 * sums["blocked"] / max(sums["sent"], 1.0),
            "clv/reachable_channels": sums["reachable"] / days,
            "clv/orders_a_year": 364.0 * sums["ordered"] / days,
            "clv/message_cost_a_year": 364.0 * sums["message_cost"] / days,
        }
        episodes = self.model.ep_info_buffer
        if episodes:
            metrics["rollout/ep_rew_mean"] = float(np.mean([episode["r"] for episode in episodes]))
            metrics["rollout/ep_len_mean"] = float(np.mean([episode["l"] for episode in episodes]))
        return metrics
