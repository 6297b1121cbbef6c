"""Gradients written out by hand are those that PyTorch finds by itself, and a network goes on using its weights."""

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch as th
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from agents.gradients import FlatParameters, Surrogate, backward, forward, surrogate
from agents.networks import CLOSED

PRECISE = settings(max_examples=60, deadline=None, derandomize=True)
TYPES = st.sampled_from([th.float32, th.float64])


def network(widths: list[int], seed: int, dtype: th.dtype = th.float64) -> nn.Sequential:
    """Affine layers of these widths, rectified in between."""
    th.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).to(dtype)


def close(found: Tensor, expected: Tensor, dtype: th.dtype, least: float = 1e-3) -> None:
    """The same to the rounding of numbers of the size of the largest, or of `least`."""
    precision = 1e-11 if dtype is th.float64 else 1e-4
    atol = precision * max(least, float(expected.abs().max()))
    th.testing.assert_close(found.to(th.float64), expected.to(th.float64), rtol=precision, atol=atol)


# --- layers ---


@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    rows=st.integers(1, 12),
    seed=st.integers(0, 2**16),
    dtype=TYPES,
)
@PRECISE
def test_layers_have_the_gradients_of_automatic_differentiation(
    widths: list[int], rows: int, seed: int, dtype: th.dtype
) -> None:
    mine = network(widths, seed, dtype)
    theirs = copy.deepcopy(mine).to(th.float64)
    inputs, gradient = th.randn(rows, widths[0], dtype=dtype), th.randn(rows, widths[-1], dtype=dtype)
    flat = FlatParameters(mine)
    layers = flat.layers(list(mine))
    assert len(layers) == len(widths) - 1
    flat.gradients.fill_(float("nan"))  # what was there before must not matter
    passed = forward(layers, inputs)
    expected = theirs(inputs.to(th.float64))
    close(passed[-1], expected.detach(), dtype)
    backward(layers, passed, gradient)
    expected.backward(gradient.to(th.float64))
    close(flat.gradients, th.cat([of(each).flatten() for each in theirs.parameters()]), dtype)


def of(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def test_layers_that_are_not_asked_for_keep_their_gradients() -> None:
    both = nn.ModuleList([network([3, 4, 2], 0), network([3, 1], 1)])
    flat = FlatParameters(both)
    actor, critic = (flat.layers(list(each.children())) for each in both)
    first = sum(each.weight.numel() + each.bias.numel() for each in actor)
    inputs = th.randn(5, 3, dtype=th.float64)
    flat.gradients.fill_(7.0)
    backward(critic, forward(critic, inputs), th.ones(5, 1, dtype=th.float64))
    assert (flat.gradients[:first] == 7.0).all()
    assert (flat.gradients[first:] != 7.0).all()


def test_what_passed_is_what_backward_needs_and_inputs_are_left_alone() -> None:
    some = network([3, 4, 4, 2], 5)
    inputs = th.randn(6, 3, dtype=th.float64)
    before = inputs.clone()
    passed = forward(FlatParameters(some).layers(list(some)), inputs)
    assert [tuple(each.shape) for each in passed] == [(6, 3), (6, 4), (6, 4), (6, 2)]
    assert all((each >= 0).all() for each in passed[1:-1])
    assert (passed[-1] < 0).any()
    assert th.equal(inputs, before)


# --- the clipped objective ---


def plainly(
    logits: Tensor, action: Tensor, old: Tensor, advantage: Tensor, clip: float, entropy_weight: float
) -> tuple[Surrogate, Tensor]:
    """What stable-baselines3 computes, in double precision; and the ratio of probabilities (B, 1)."""
    logits = logits.to(th.float64, copy=True).requires_grad_(True)
    old, advantage = old.to(th.float64), advantage.to(th.float64)
    log_probabilities = th.log_softmax(logits, 1)
    chosen = log_probabilities.gather(1, action)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(1).mean()
    ratio = th.exp(chosen - old)
    gain = th.min(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    loss = -gain.mean() - entropy_weight * entropy
    (gradient,) = th.autograd.grad(loss, logits)
    return Surrogate(gradient, (old - chosen).mean().detach(), entropy.detach()), ratio.detach()


def minibatch(rows: int, actions: int, closed: float, far: float, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits (B, A), some of them closed, and actions (B, 1) among the others with old log probabilities, advantages."""
    coins = th.Generator().manual_seed(seed)
    logits = 3.0 * th.randn(rows, actions, generator=coins, dtype=th.float64)
    shut = th.rand(rows, actions, generator=coins) < closed
    shut[:, 0] = False  # silence
    action = th.multinomial((~shut).float(), 1, generator=coins)
    # As the head does it, which adds to whatever the logit was.
    logits = logits + CLOSED * shut
    change = far * th.randn(rows, 1, generator=coins, dtype=th.float64)
    advantage = th.randn(rows, 1, generator=coins, dtype=th.float64)
    return logits, action, th.log_softmax(logits, 1).gather(1, action) - change, advantage


@given(
    rows=st.integers(1, 40),
    actions=st.integers(1, 20),
    closed=st.sampled_from([0.0, 0.5, 1.0]),
    far=st.sampled_from([0.0, 0.1, 1.0, 3.0]),
    clip=st.floats(0.01, 0.9),
    entropy_weight=st.sampled_from([0.0, 0.006, 1.0]),
    seed=st.integers(0, 2**16),
    dtype=TYPES,
)
@example(rows=30, actions=6, closed=0.5, far=1.0, clip=0.2, entropy_weight=0.006, seed=0, dtype=th.float32)
@example(rows=1, actions=1, closed=0.0, far=0.0, clip=0.2, entropy_weight=1.0, seed=0, dtype=th.float32)
@settings(PRECISE, max_examples=200)
def test_the_clipped_objective_has_the_gradient_of_automatic_differentiation(
    rows: int, actions: int, closed: float, far: float, clip: float, entropy_weight: float, seed: int, dtype: th.dtype
) -> None:
    logits, action, old, advantage = minibatch(rows, actions, closed, far, seed)
    expected, ratio = plainly(logits, action, old, advantage, clip, entropy_weight)
    # At an edge of the clip the two would be free to differ.
    away = ((ratio - 1.0).abs() - clip).abs() > 1e-4
    found = surrogate(logits.to(dtype, copy=True), action, old.to(dtype), advantage.to(dtype), clip, entropy_weight)
    for name, values in found._asdict().items():
        assert values.dtype == dtype, name
        assert values.isfinite().all(), name
    close(found.gradient * away, expected.gradient * away, dtype)
    close(found.entropy, expected.entropy, dtype)
    close(found.divergence, expected.divergence, dtype, least=1.0)


@pytest.mark.parametrize(
    ("change", "advantage", "counts"),
    [(0.5, 1.0, False), (0.5, -1.0, True), (-0.5, -1.0, False), (-0.5, 1.0, True), (0.1, 1.0, True), (0.1, -1.0, True)],
)
def test_whoever_has_gone_far_enough_is_pulled_back_but_not_pushed_on(
    change: float, advantage: float, counts: bool
) -> None:
    logits, action = th.tensor([[0.3, -0.2, 1.0]]), th.tensor([[1]])
    probability = th.softmax(logits, 1)[0, 1]
    old = (probability.log() - change).view(1, 1)
    gradient = surrogate(logits, action, old, th.tensor([[advantage]]), 0.2, 0.0).gradient
    expected = -th.tensor(change).exp() * advantage * (1 - probability) if counts else th.tensor(0.0)
    th.testing.assert_close(gradient[0, 1], expected)
    assert gradient.sum().abs() < 1e-6, "probabilities go on summing to one"


@pytest.mark.parametrize("dtype", [th.float32, th.float64])
def test_what_cannot_be_sent_has_no_gradient_and_no_part_in_the_entropy(dtype: th.dtype) -> None:
    logits = th.tensor([[1.0, 2.0, CLOSED, CLOSED + 1], [0.5, CLOSED, CLOSED, CLOSED]], dtype=dtype)
    action, old = th.tensor([[1], [0]]), th.tensor([[-1.0], [0.0]], dtype=dtype)
    found = surrogate(logits, action, old, th.tensor([[2.0], [-2.0]], dtype=dtype), 0.2, 0.5)
    assert (found.gradient[0, 2:] == 0).all()
    assert (found.gradient[0, :2] != 0).all()
    assert (found.gradient[1] == 0).all(), "silence alone is no choice"
    probability = 1 / (1 + th.exp(th.tensor(1.0, dtype=dtype)))
    entropy = -(probability * probability.log() + (1 - probability) * (1 - probability).log())
    th.testing.assert_close(found.entropy, entropy / 2)


# --- all weights in one vector ---


def trained(steps: int, flat: FlatParameters, layers: Any, optimizer: th.optim.Optimizer) -> None:
    for step in range(steps):
        inputs, wanted = batch(step)
        passed = forward(layers, inputs)
        backward(layers, passed, 2.0 * (passed[-1] - wanted) / wanted.numel())
        optimizer.step()
    assert flat.gradients.abs().sum() > 0


def batch(step: int) -> tuple[Tensor, Tensor]:
    coins = th.Generator().manual_seed(step)
    inputs = th.randn(8, 3, generator=coins, dtype=th.float64)
    return inputs, inputs[:, :2].square()


def test_one_step_for_all_weights_is_a_step_for_each_which_the_network_sees() -> None:
    mine = network([3, 5, 4, 2], 3)
    theirs = copy.deepcopy(mine)
    before = mine(batch(0)[0]).detach()
    flat = FlatParameters(mine)
    th.testing.assert_close(mine(batch(0)[0]), before, rtol=0, atol=0)
    trained(20, flat, flat.layers(list(mine)), th.optim.Adam([flat.values], lr=1e-2, fused=True))
    optimizer = th.optim.Adam(theirs.parameters(), lr=1e-2)
    for step in range(20):
        inputs, wanted = batch(step)
        optimizer.zero_grad()
        loss: Any = nn.functional.mse_loss(theirs(inputs), wanted)
        loss.backward()
        optimizer.step()
    for found, expected in zip(mine.parameters(), theirs.parameters(), strict=True):
        th.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert (mine(batch(0)[0]) - before).abs().max() > 0.01


def test_weights_that_are_loaded_are_the_ones_that_learn_on() -> None:
    first, second = network([3, 5, 2], 3), network([3, 5, 2], 4)
    flats = [FlatParameters(each) for each in (first, second)]
    places = [each.data_ptr() for each in second.parameters()]
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert th.equal(flats[0].values, flats[1].values)
    assert [each.data_ptr() for each in second.parameters()] == places
    for some, flat in zip((first, second), flats, strict=True):
        trained(5, flat, flat.layers(list(some)), th.optim.Adam([flat.values], lr=1e-2, fused=True))
    assert th.equal(flats[0].values, flats[1].values)
    assert th.equal(first(batch(0)[0]), second(batch(0)[0]))


def test_a_network_on_one_vector_can_still_learn_by_itself() -> None:
    some = network([3, 5, 2], 3)
    flat = FlatParameters(some)
    before = flat.values.clone()
    optimizer = th.optim.SGD(some.parameters(), lr=0.1)
    some(batch(0)[0]).sum().backward()
    optimizer.step()
    assert (flat.values != before).sum() > len(before) / 2
    th.testing.assert_close(flat.values, th.cat([each.detach().flatten() for each in some.parameters()]))
