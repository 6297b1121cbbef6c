"""Gradients of small networks written out by hand, as building and walking a graph costs more than the arithmetic.

It computes nothing that automatic differentiation would not; the tests hold it to that.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch as th
from torch import Tensor, nn


class Layer(NamedTuple):
    """Weights of one affine layer and the memory of their gradients."""

    weight: Tensor  # (out, in)
    bias: Tensor  # (out,)
    weight_gradient: Tensor
    bias_gradient: Tensor


class FlatParameters:
    """All weights of a network in one vector, so that an optimiser takes one step instead of one for each of them.

    Attributes:
        values, gradients: (P,) the weights, which the network itself goes on using, and their gradients.
    """

    def __init__(self, network: nn.Module) -> None:
        """Move the weights of `network` into one vector."""
        parameters = list(network.parameters())
        self.values = th.cat([each.detach().reshape(-1) for each in parameters])
        self.gradients = th.zeros_like(self.values)
        self.values.grad = self.gradients
        self._of: dict[int, Tensor] = {}
        place = 0
        for each in parameters:
            piece = slice(place, place + each.numel())
            each.data = self.values[piece].view(each.shape)
            self._of[id(each)] = self.gradients[piece].view(each.shape)
            place = piece.stop

    def layers(self, modules: Sequence[nn.Module]) -> list[Layer]:
        """The affine layers among `modules`, in order."""
        return [
            Layer(each.weight.data, each.bias.data, self._of[id(each.weight)], self._of[id(each.bias)])
            for each in modules
            if isinstance(each, nn.Linear)
        ]


def forward(layers: Sequence[Layer], inputs: Tensor) -> list[Tensor]:
    """What goes into each layer, (B, in), and what comes out of the last, (B, out); rectified in between."""
    passed = [inputs]
    for place, layer in enumerate(layers):
        out = th.addmm(layer.bias, passed[-1], layer.weight.t())
        passed.append(out.relu_() if place + 1 < len(layers) else out)
    return passed


def backward(layers: Sequence[Layer], passed: Sequence[Tensor], gradient: Tensor) -> None:
    """Write the gradients of all weights, given that of the last output (B, out) and what `forward` returned."""
    for place in range(len(layers) - 1, -1, -1):
        layer, inputs = layers[place], passed[place]
        th.mm(gradient.t(), inputs, out=layer.weight_gradient)
        th.sum(gradient, 0, out=layer.bias_gradient)
        if place:
            gradient = th.ops.aten.threshold_backward(gradient @ layer.weight, inputs, 0)


class Surrogate(NamedTuple):
    """The clipped objective of PPO at one minibatch of B."""

    gradient: Tensor  # (B, A) of the loss by the logits
    divergence: Tensor  # () estimate of KL(old policy, policy)
    entropy: Tensor  # () mean


def surrogate(
    logits: Tensor, action: Tensor, old_log_probability: Tensor, advantage: Tensor, clip: float, entropy_weight: float
) -> Surrogate:
    """Gradient of -min(r a, clip(r, 1 - e, 1 + e) a) - w H by the logits (Schulman et al. 2017, equation 7).

    By the logits z, d log p(i) = 1_i - p and dH = -p (log p + H).

    Args:
        logits: (B, A), overwritten.
        action: (B, 1) int64 taken.
        old_log_probability: (B, 1) of the action when it was taken.
        advantage: (B, 1) of the action.
        clip: e.
        entropy_weight: w.
    """
    count = len(logits)
    probability = th.softmax(logits, 1)
    log_probability = probability.gather(1, action).clamp_(min=1e-30).log_()
    normaliser = logits.gather(1, action).sub_(log_probability)  # log of the sum of exponentials
    entropy = normaliser - th.linalg.vecdot(probability, logits).unsqueeze(1)
    change = log_probability - old_log_probability
    gain = change.exp() * advantage
    clipped = change.exp().clamp_(1.0 - clip, 1.0 + clip) * advantage
    of_log = th.where(gain <= clipped, gain, 0.0).div_(-count)
    weight = entropy_weight / count
    gradient = logits.add_(entropy - normaliser).mul_(weight).sub_(of_log).mul_(probability)
    gradient.scatter_add_(1, action, of_log)
    return Surrogate(gradient, -change.mean(), entropy.mean())
