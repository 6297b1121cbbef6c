"""A customer as a finite Markov decision process, solved exactly: what could be earned by a sender who knew everything.

It never simulates, learns, or writes an equation of a day down again: every probability is asked of `dynamics`.

**States.** (fatigue level, bond level, mask of open channels), and having left, which is worth nothing. Channels that a
customer never opted in to stay closed and do not count, so k channels of its own make 2^k masks; with 17 x 11 levels
and three channels that is 1,496 states. The calendar (weekend, season, drift) is a function of the customer's own day.
**Actions.** Silence and every message. One on a closed channel costs its price and is silence otherwise.
**A day.** A message is opened or not; an order comes unprompted or through the open; the message's channel is blocked
or not, which makes blocks of the others likelier, and each may be blocked by itself; channels may be won back; the
customer may leave; fatigue and bond move to a neighbouring level at random, which makes linear interpolation between
levels an expectation, not an approximation. **Reward.** `dynamics.expected_reward`, discounted by the day.

**How a day is computed** (`backup`). Tomorrow's values (N, F, B, M) are interpolated in fatigue, which is a constant
matrix for the load of a channel; then mixed over masks (`masks`) into three planes for each channel: nothing is
blocked, something else is, the message's channel is. What is left is a sum over tomorrow's bond level and plane whose
weights are the same on all days of a kind (`weights`): a product of matrices, batched over customers and fatigue. With
win-back the mixing depends on bond and on whether there was an order; with a season a day is a mixture of a day with
a certain order and one without; while tolerance drifts the weights are made anew every day.

**Which messages are compared** (`menus`, `optimum`). All messages of a channel weigh the same on fatigue, so for a known
customer one beats another in all states if it is opened, sells, pleases and earns no less and is blocked no more. In the
largest scenario 1 or 2 of 27 remain. That holds where tomorrow's values rise with bond and a block is nowhere welcome;
both are looked at on every day, and where they fail all messages are compared. So nothing is approximated.

**Precision.** With float64 all results agree with other ways of reckoning to 1e-11. With float32 the rounding of the
weights adds up over the days: over three years 1e-5 of a value is typical, 1e-4 the largest that was seen. float64
costs half as much again on a CPU; use it for reference values.

**Memory** is (customers in a batch) x (weights + a few tables). A table is 0.05 MB for five channels in float64 (F B M
numbers). Weights of a customer take about 0.1 MB a channel, or 3 MB a channel where all 27 messages are compared
(half of that in float32 or without weekends), at most 18 MB in all for five channels. `Plan` keeps 2 sqrt(days) tables
beside them.

**Use.**

    traits = population.draw(scenario, seeds, customers, np.float64)
    batches = mdp.batches(scenario, traits)  # asarray=lambda values: torch.from_numpy(values).cuda() for a GPU
    best = mdp.together((each, mdp.at(mdp.optimal_value(each, 1092), mdp.newcomers(scenario, each))) for each in batches)

    cap = mdp.fatigue_cap(message, 2.0)
    worth = mdp.policy_value(batch, cap(batch), 1092)  # (N, F, B, M) on day 0
    course = mdp.occupancy(batch, cap(batch), 1092, mdp.newcomers(scenario, batch))  # messages, blocks, reach by day

    plans = [mdp.Plan(each, 1092) for each in batches]  # or mdp.Stationary(each)
    action = mdp.optimal_actions(plans, day, state)  # (N,) for the simulator, in the order of `traits`
    values = mdp.action_values(plans, day, state)  # (N, actions)

Values are discounted money from the morning of a day to the end of the horizon. Arrays are NumPy's or PyTorch's, as
`asarray` makes them; tables are overwritten in place, so libraries with immutable arrays do not serve.
"""

from blockenv.mdp.batches import Batch, Cells, at, batches, cells, newcomers, to_host, together
from blockenv.mdp.evaluation import Occupancy, Policy, occupancy, policy_value
from blockenv.mdp.optimum import Best, Plan, action_values, optimal_actions, optimal_table, optimal_value
from blockenv.mdp.policies import fatigue_cap, myopic, segment_caps, silence
from blockenv.mdp.stationary import Stationary

__all__ = [
    "Batch",
    "Best",
    "Cells",
    "Occupancy",
    "Plan",
    "Policy",
    "Stationary",
    "action_values",
    "at",
    "batches",
    "cells",
    "fatigue_cap",
    "myopic",
    "newcomers",
    "occupancy",
    "optimal_actions",
    "optimal_table",
    "optimal_value",
    "policy_value",
    "segment_caps",
    "silence",
    "to_host",
    "together",
]
