"""Begin where a firm stands today: teach a policy network to send as a rule does, before it learns to do better.

The network imitates the rule on training customers and keeps some doubt, so that it goes on trying other messages;
it is taught what the rule does, never what a message is worth.
"""

import numpy as np
import torch as th

from agents.agent import training_seed
from agents.policies import FactoredActorCriticPolicy
from agents.rules import Actions, Observation, Rule, random_legal
from blockenv.cohort import Cohort

CUSTOMERS, DAYS, EVERY = 1024, 364, 4
DOUBT_SILENT, DOUBT_SENDING = 0.05, 0.25  # probability of something else than the rule's choice
PASSES, BATCH, RATE = 6, 1024, 3e-3


def imitate(policy: FactoredActorCriticPolicy, rule: Rule, seed: int) -> None:
    """Fit the actor to the rule's choices by cross-entropy; the critic is left alone.

    Args:
        policy: its actor is changed in place.
        rule: already tuned.
        seed: of the training run.
    """
    seen, chosen = _log(rule, training_seed(seed, 3))
    width = policy.observation_space.shape[0]  # type: ignore[index]
    padded = np.zeros((len(seen), width), np.float32)
    padded[:, : seen.shape[1]] = seen
    observations, actions = th.as_tensor(padded), th.as_tensor(chosen)
    actor = [*policy.mlp_extractor.policy_net.parameters(), *policy.action_net.parameters()]
    optimizer = th.optim.Adam(actor, lr=RATE)
    generator = th.Generator().manual_seed(training_seed(seed, 3))
    steps = PASSES * (len(actions) // BATCH)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1.0 - step / steps)
        rows = th.randint(len(actions), (BATCH,), generator=generator)
        at, action = observations[rows].to(policy.device), actions[rows].to(policy.device)
        logits = policy.get_distribution(at).logits
        log_probability = th.log_softmax(logits, 1)
        legal = (logits > -1e6).float()
        doubt = th.where(action == 0, DOUBT_SILENT, DOUBT_SENDING).unsqueeze(1)
        target = doubt * legal / legal.sum(1, keepdim=True)
        target.scatter_add_(1, action.unsqueeze(1), 1.0 - doubt)
        loss = -(target * log_probability.clamp(min=-50.0)).sum(1).mean()
        optimizer.zero_grad()
        th.autograd.backward(loss)
        optimizer.step()


def _log(rule: Rule, key: int) -> tuple[Observation, Actions]:
    """Observations and the rule's choices on every `EVERY`-th day; some coin flips show it unusual histories."""
    cohort = Cohort(rule.scenario, np.full(CUSTOMERS, key, np.uint64), np.arange(CUSTOMERS))
    rng = np.random.Generator(np.random.Philox(key=[key, 0]))
    seen, chosen = [], []
    for day in range(DAYS):
        observation, mask = cohort.observe(), cohort.legal_actions()
        action = rule.act(observation, mask, rng)
        if day % EVERY == 0:
            alive = cohort.state.alive
            seen.append(observation[alive])
            chosen.append(action[alive])
        doubt = np.where(action == 0, DOUBT_SILENT, DOUBT_SENDING)
        other = random_legal(mask, rng)
        cohort.step(np.where(rng.random(CUSTOMERS) < doubt, other, action))
    return np.concatenate(seen), np.concatenate(chosen)
