"""The factored networks compute what they claim and never choose a closed channel."""

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical

from agents.networks import (
    CLOSED,
    ActionLayout,
    MessageDistribution,
    MessageHead,
    draw_rows,
)
from agents.policies import FactoredActorCriticPolicy, FactoredDQNPolicy

CHANNELS, STYLES = 3, 4
MESSAGES = list(itertools.product(range(CHANNELS), range(STYLES)))
LAYOUT = ActionLayout(
    parts=[[0.0] * (CHANNELS + STYLES)]
    + [
        [float(part in (channel, CHANNELS + style)) for part in range(CHANNELS + STYLES)] for channel, style in MESSAGES
    ],
    channel=[-1] + [channel for channel, _ in MESSAGES],
    open_columns=[1, 2, 4],
)
OBSERVATION = spaces.Box(-10.0, 10.0, (6,), np.float32)
ACTION = spaces.Discrete(LAYOUT.actions)
FORMS = [
    {"factored": True},
    {"factored": True, "interactions": True},
    {"factored": False},
]


def observations(count: int, seed: int = 0) -> th.Tensor:
    """Random observations in which about half of the channels are closed."""
    generator = th.Generator().manual_seed(seed)
    obs = th.randn(count, 6, generator=generator)
    obs[:, LAYOUT.open_columns] = th.randint(2, (count, CHANNELS), generator=generator).float()
    return obs


def is_open(obs: th.Tensor) -> th.Tensor:
    """Which actions may be taken, ``(B, A)``, by a loop over the actions."""
    columns = [th.ones(len(obs), dtype=th.bool)]
    columns += [obs[:, LAYOUT.open_columns[channel]] > 0 for channel, _ in MESSAGES]
    return th.stack(columns, 1)


def actor_critic(**kwargs: Any) -> FactoredActorCriticPolicy:
    th.manual_seed(0)
    policy = FactoredActorCriticPolicy(OBSERVATION, ACTION, lambda _: 1e-3, layout=LAYOUT.plain(), **kwargs)
    shake(policy)
    return policy


def q_policy(**kwargs: Any) -> FactoredDQNPolicy:
    th.manual_seed(0)
    policy = FactoredDQNPolicy(OBSERVATION, ACTION, lambda _: 1e-3, layout=LAYOUT.plain(), **kwargs)
    shake(policy)
    return policy


def shake(policy: th.nn.Module) -> None:
    """Replace the careful initial weights by ones that matter."""
    with th.no_grad():
        for weights in policy.parameters():
            weights.copy_(th.randn_like(weights) * 0.5)


@pytest.mark.parametrize("form", FORMS)
def test_actor_never_chooses_a_closed_channel(form: dict[str, Any]) -> None:
    policy = actor_critic(**form)
    obs = observations(4000)
    open_actions = is_open(obs)
    assert not open_actions.all(), "some channels have to be closed"
    sampled, _, log_prob = policy(obs)
    greedy, _ = policy.predict(obs.numpy(), deterministic=True)
    drawn, _ = policy.predict(obs.numpy(), deterministic=False)
    for actions in (sampled, th.as_tensor(greedy), th.as_tensor(drawn)):
        assert open_actions.gather(1, actions.unsqueeze(1)).all()
        assert len(actions.unique()) > 3
    assert (log_prob > -50).all()
    distribution = policy.get_distribution(obs)
    assert (distribution.distribution.probs[~open_actions] == 0).all()
    assert (distribution.logits[open_actions].abs() < 1e4).all()


def test_an_unknown_channel_is_not_closed() -> None:
    obs = th.zeros(1, 6)
    obs[0, LAYOUT.open_columns[1]] = 0.2
    legal = q_policy().legal_actions(obs)[0]
    assert legal.tolist() == [True] + [channel == 1 for channel, _ in MESSAGES]


@pytest.mark.parametrize("form", FORMS)
def test_all_ways_to_ask_the_actor_agree(form: dict[str, Any]) -> None:
    policy = actor_critic(**form)
    obs = observations(64)
    actions, values, log_prob = policy(obs)
    again_values, again_log_prob, entropy = policy.evaluate_actions(obs, actions)
    distribution = policy.get_distribution(obs)
    reference: Any = Categorical(logits=distribution.logits)
    th.testing.assert_close(values, again_values)
    th.testing.assert_close(values, policy.predict_values(obs))
    th.testing.assert_close(log_prob, again_log_prob)
    th.testing.assert_close(log_prob, reference.log_prob(actions))
    th.testing.assert_close(distribution.log_prob(actions), log_prob)
    th.testing.assert_close(entropy, reference.entropy())
    th.testing.assert_close(distribution.entropy(), entropy)
    th.testing.assert_close(policy(obs, deterministic=True)[0], reference.mode)


def test_gradients_equal_those_of_torch() -> None:
    th.manual_seed(1)
    logits = th.randn(50, 9, dtype=th.float64)
    logits[:, 3] += CLOSED
    actions = th.randint(3, (50,))
    weights = th.randn(2, 50, dtype=th.float64)
    gradients = []
    for fast in (True, False):
        leaf = logits.clone().requires_grad_()
        if fast:
            log_prob, entropy = MessageDistribution(leaf).log_prob_and_entropy(actions)
        else:
            reference: Any = Categorical(logits=leaf)
            log_prob, entropy = reference.log_prob(actions), reference.entropy()
        (weights[0] * log_prob + weights[1] * entropy).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append(leaf.grad)
    th.testing.assert_close(gradients[0], gradients[1])


def test_draws_follow_the_weights() -> None:
    th.manual_seed(2)
    weights = th.tensor([0.0, 1.0, 0.0, 3.0, 4.0, 0.0])
    shares = th.bincount(draw_rows(weights.expand(200_000, 6)), minlength=6) / 200_000
    # Five standard errors of a share of 1/2.
    th.testing.assert_close(shares, weights / 8, atol=5 * 0.5 / 200_000**0.5, rtol=0)
    assert (shares[weights == 0] == 0).all()


def test_the_smallest_draw_passes_over_leading_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    # An exact zero comes once in 17 million draws: too rare to wait for, too frequent to ignore.
    monkeypatch.setattr(th, "rand", th.zeros)
    assert draw_rows(th.tensor([[0.0, 0.0, 2.0, 1.0]])).tolist() == [2]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e6)), min_size=1, max_size=150).filter(any),
    st.integers(0, 2**31),
)
def test_weight_zero_is_never_drawn(weights: list[float], seed: int) -> None:
    th.manual_seed(seed)
    row = th.tensor(weights)
    drawn = draw_rows(row.expand(200, len(weights)))
    assert (drawn < len(weights)).all()
    assert (row[drawn] > 0).all()


def test_factored_logits_are_sums_over_parts() -> None:
    policy = actor_critic()
    obs = observations(1)
    obs[:, LAYOUT.open_columns] = 1.0
    logits = policy.get_distribution(obs).logits[0, 1:].reshape(CHANNELS, STYLES)
    # A sum of a channel's and a style's part has no interaction: all second differences vanish.
    th.testing.assert_close(logits.diff(dim=0).diff(dim=1), th.zeros(CHANNELS - 1, STYLES - 1), atol=1e-5, rtol=0)
    assert logits.std() > 0.1
    richer = actor_critic(interactions=True).get_distribution(obs).logits[0, 1:].reshape(CHANNELS, STYLES)
    assert richer.diff(dim=0).diff(dim=1).abs().max() > 0.1


@pytest.mark.parametrize("form", FORMS)
def test_advantages_are_over_silence_where_the_customer_s_value_stands_apart(form: dict[str, Any]) -> None:
    policy = q_policy(**form, actor_columns=5, critic_from=5, value_layers=[8], value_bias=3.0)
    obs = observations(20)
    obs[:, LAYOUT.open_columns] = 1.0
    advantages = policy.q_net.advantages(obs)
    assert (advantages[:, 0] == 0).all()
    assert advantages[:, 1:].std() > 0.01
    th.testing.assert_close(policy.q_net(obs), policy.q_net.value_net(obs[:, 5:]) + advantages)
    if form.get("factored", True) and not form.get("interactions"):
        table = policy.q_net(obs)[:, 1:].reshape(20, CHANNELS, STYLES)
        assert table.diff(dim=1).diff(dim=2).abs().max() < 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_q_network_and_target_pass_over_closed_channels(form: dict[str, Any]) -> None:
    policy = q_policy(**form)
    obs = observations(2000)
    open_actions = is_open(obs)
    th.testing.assert_close(policy.legal_actions(obs), open_actions)
    for network in (policy.q_net, policy.q_net_target):
        values = network(obs)
        assert (values[~open_actions] < CLOSED / 2).all()
        assert (values[open_actions].abs() < 1e4).all()
        assert (values.max(1).values > CLOSED / 2).all()
    actions, _ = policy.predict(obs.numpy())
    assert open_actions.gather(1, th.as_tensor(actions).unsqueeze(1)).all()
    assert len(np.unique(actions)) > 2


@pytest.mark.parametrize("form", FORMS)
def test_untrained_sender_is_silent_as_often_as_asked(form: dict[str, Any]) -> None:
    th.manual_seed(0)
    policy = FactoredActorCriticPolicy(
        OBSERVATION,
        ACTION,
        lambda _: 1e-3,
        layout=LAYOUT.plain(),
        silence_bias=LAYOUT.silence_bias(0.9),
        **form,
    )
    obs = observations(500)
    obs[:, LAYOUT.open_columns] = 1.0
    silence = policy.get_distribution(obs).distribution.probs[:, 0]
    assert abs(silence.mean().item() - 0.9) < 0.01


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [partial(actor_critic, silence_bias=1.5), q_policy])
def test_saved_policy_predicts_the_same(make: Any, form: dict[str, Any], tmp_path: Path) -> None:
    policy = make(net_arch=[16], **form)
    policy.save(str(tmp_path / "policy.pt"))
    loaded = type(policy).load(str(tmp_path / "policy.pt"), device="cpu")
    obs = observations(300).numpy()
    np.testing.assert_array_equal(
        policy.predict(obs, deterministic=True)[0], loaded.predict(obs, deterministic=True)[0]
    )
    before, after = policy._get_constructor_parameters(), loaded._get_constructor_parameters()
    for name in ("layout", "factored", "interactions"):
        assert after.get(name) == before.get(name), name
    assert before["layout"] == LAYOUT.plain()
    assert getattr(loaded, "silence_bias", None) == getattr(policy, "silence_bias", None)


def test_all_weights_are_trained() -> None:
    actor, learner = actor_critic(interactions=True), q_policy(interactions=True)
    for optimizer, network in ((actor.optimizer, actor), (learner.optimizer, learner.q_net)):
        trained = {id(weights) for group in optimizer.param_groups for weights in group["params"]}
        assert trained == {id(weights) for weights in network.parameters()}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"parts": [[0.0], [1.0, 0.0]], "channel": [-1, 0]}, "different lengths"),
        ({"channel": [-1, 0]}, "channel has 2 entries, expected 13"),
        ({"channel": [0] * 13}, "action 0 is silence"),
        ({"channel": [-1] + [3] * 12}, "expected 0 to 2"),
        ({"channel": [-1] * 13}, "expected 0 to 2"),
    ],
)
def test_layouts_that_do_not_fit_together(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ActionLayout(**(LAYOUT.plain() | change))


def test_layouts_that_do_not_fit_the_spaces() -> None:
    with pytest.raises(ValueError, match="expected a flat Box with column 4"):
        LAYOUT.check_spaces(spaces.Box(0, 1, (4,)), ACTION)
    with pytest.raises(ValueError, match=r"expected Discrete\(13\)"):
        LAYOUT.check_spaces(OBSERVATION, spaces.Discrete(12))
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        LAYOUT.silence_bias(1.0)
    with pytest.raises(ValueError, match="factored is False"):
        MessageHead(8, LAYOUT, factored=False, interactions=True, over_silence=False)


def test_the_actor_is_shown_the_first_columns_only() -> None:
    policy = actor_critic(actor_columns=5)
    obs = observations(200)
    changed = obs.clone()
    changed[:, 5] += 3.0
    with th.no_grad():
        assert th.equal(policy.get_distribution(obs).logits, policy.get_distribution(changed).logits)
        assert (policy.predict_values(obs) != policy.predict_values(changed)).any()
        values, log_prob, entropy = policy.evaluate_actions(obs, th.zeros(200, dtype=th.int64))
        other_values, other_log_prob, other_entropy = policy.evaluate_actions(changed, th.zeros(200, dtype=th.int64))
    assert th.equal(log_prob, other_log_prob)
    assert th.equal(entropy, other_entropy)
    assert (values != other_values).any()
    everything = actor_critic()
    with th.no_grad():
        assert (everything.get_distribution(obs).logits != everything.get_distribution(changed).logits).any()


def untrained(**kwargs: Any) -> FactoredActorCriticPolicy:
    th.manual_seed(0)
    return FactoredActorCriticPolicy(OBSERVATION, ACTION, lambda _: 1e-3, layout=LAYOUT.plain(), **kwargs)


def test_a_critic_begins_at_the_value_it_is_told() -> None:
    obs = observations(50)
    with th.no_grad():
        told, untold = (untrained(value_bias=bias).predict_values(obs) for bias in (2.5, 0.0))
    th.testing.assert_close(told, untold + 2.5)


def test_a_saved_policy_keeps_what_its_actor_may_see(tmp_path: Path) -> None:
    policy = actor_critic(actor_columns=5, value_bias=2.5)
    policy.save(str(tmp_path / "policy.pt"))
    loaded = FactoredActorCriticPolicy.load(str(tmp_path / "policy.pt"), device="cpu")
    obs = observations(50)
    with th.no_grad():
        assert th.equal(loaded.predict_values(obs), policy.predict_values(obs))
        assert th.equal(loaded.get_distribution(obs).logits, policy.get_distribution(obs).logits)
    assert loaded.actor_columns == 5
