from typing import Any

import numpy as np
import pytest

from blockenv.observation import layout
from blockenv.population import draw
from blockenv.rollout import play
from blockenv.scenarios import changed, get
from calibration.estimation.deployed import Deployed
from calibration.estimation.hints import NO_HINT, HintMap, hint_map, hint_noise
from calibration.estimation.ordering import segment_order
from tests import estimated_logs as logs


class Recorder:
    """Writes down what it is shown and sends nothing."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def act(self, observation: Any, action_mask: Any, rng: np.random.Generator) -> Any:
        self.seen.append(observation)
        return np.zeros(len(observation), np.int64)


def test_hints_say_of_the_class_what_the_covariates_say() -> None:
    """Bayes' rule with the fitted covariates and with the world's hints must agree, whatever the customer."""
    findings = logs.findings()
    noise = hint_noise(findings)
    found = hint_map(findings, noise)
    layout_, theta = findings.joint.layout, findings.joint.theta
    means = layout_.table(theta, "hint")[segment_order(findings)]
    spread = np.exp(layout_.common_of(theta, "log_hint_noise"))
    covariates = findings.panel.covariates
    raw = np.random.default_rng(0).normal(size=(50, means.shape[1]))
    hints = raw * covariates.deviations @ found.matrix.T + np.array(covariates.means) @ found.matrix.T + found.constant
    by_covariates = -0.5 * (((raw[:, None] - means) / spread) ** 2).sum(axis=2)
    signal = np.eye(len(means)) / np.hypot(1.0, noise)
    by_hints = -0.5 * (((hints[:, None] - signal) * np.hypot(1.0, noise) / noise) ** 2).sum(axis=2)
    assert np.allclose(np.diff(by_covariates), np.diff(by_hints))
    assert hints.sum(axis=1) == pytest.approx(np.full(50, 1.0 / np.hypot(1.0, noise)))


def test_hints_are_bounded_and_can_be_kept(tmp_path) -> None:  # type: ignore[no-untyped-def]
    found = hint_map(logs.findings(), 0.5)
    assert np.abs(found.hints(np.full((2, 4), 1e6))).max() == 3.0
    (tmp_path / "hints.json").write_text(found.text(), encoding="utf-8")
    back = HintMap.read(tmp_path / "hints.json")
    assert back.covariates == ("hint_1", "hint_2", "hint_3", "hint_4")
    assert np.array_equal(back.matrix, found.matrix)
    assert np.array_equal(back.constant, found.constant)
    (tmp_path / "hints.json").write_text('{"covariates": ["a"], "matrix": [[1, 2]], "constant": [0]}', encoding="utf-8")
    with pytest.raises(ValueError, match="expected covariates, matrix, constant"):
        HintMap.read(tmp_path / "hints.json")


def test_no_covariates_no_hint() -> None:
    panel = logs.panel()
    assert hint_noise(logs.findings()) < 5.0
    assert panel.hints.shape == (panel.size, 4)
    constant = HintMap((), np.zeros((3, 0)), np.full(3, 0.1))
    assert np.array_equal(constant.hints(np.zeros((2, 0))), np.full((2, 3), 0.1))
    assert NO_HINT == 100.0


def test_a_policy_sees_the_truth_as_its_own_world() -> None:
    there = logs.WORLD
    commerce = there.commerce.model_copy(update={"order_value": 2.0 * there.commerce.order_value})
    home = changed(there, name="Estimated-v0", segments=there.segments[:2], commerce=commerce)
    hints = HintMap(("hint_3", "hint_1"), np.array([[1.0, 0.0], [0.0, 0.5]]), np.array([0.0, 0.1]))
    recorder = Recorder()
    play(Deployed(recorder, home, there, hints), there, customers=200, days=60)
    seen, columns = recorder.seen[-1], layout(home)
    assert seen.shape[1] == columns["hints"].stop
    traits = draw(there, np.full(200, 2**40, np.uint64), np.arange(200))
    first = recorder.seen[0][:, columns["hints"]]
    assert np.allclose(first[:, 0], np.clip(traits.hints[:, 2], -3, 3), atol=1e-6)
    assert np.allclose(first[:, 1], 0.5 * traits.hints[:, 0] + 0.1, atol=1e-6)
    value = columns["order_value"].start
    assert (recorder.seen[0][:, value] == 0.5).all()  # nobody has ordered yet
    plain = Recorder()
    play(plain, there, customers=200, days=60)
    true = plain.seen[-1][:, value]
    ordered = true != 0.5
    assert ordered.any()
    spent = true / (1.0 - true)
    assert np.allclose(seen[ordered, value], (spent / (spent + 2.0))[ordered], atol=1e-6)


def test_worlds_of_other_shapes_are_refused() -> None:
    there = logs.WORLD
    home = changed(there, name="Estimated-v0", segments=there.segments[:2])
    with pytest.raises(ValueError, match="hints: columns"):
        Deployed(Recorder(), home, there)
    with pytest.raises(ValueError, match="covariates: age not among"):
        Deployed(Recorder(), home, there, HintMap(("age",), np.zeros((2, 1)), np.zeros(2)))
    with pytest.raises(ValueError, match="expected the same"):
        Deployed(Recorder(), get("Timing-v0"), there)
