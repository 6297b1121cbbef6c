"""Checkpoints of deep learners: everything that training needs to go on as if it had never been stopped.

Weights, optimiser, replay buffer, customers, clocks and all random generators, as plain tensors and arrays. Nothing
is pickled: files are read with the restricted unpickler that admits tensors only, so a checkpoint cannot run code.
"""

import io
import json
import random
import shutil
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from agents.agent import AgentError, write_whole
from agents.algorithms import BatchedDQN
from agents.vec_env import VecEnvAdapter

_COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_n_calls",
    "_episode_num",
    "exploration_rate",
    "_current_progress_remaining",
)
MISFITS = (KeyError, ValueError, TypeError, RuntimeError, AttributeError, IndexError, OverflowError)
_BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def write(folder: Path, model: BaseAlgorithm) -> None:
    """Write a checkpoint of a model of stable-baselines3 that is being trained; see `write_parts`.

    Raises:
        OSError: the parent folder is missing, cannot be written, or is full.
    """
    env = model.env
    assert isinstance(env, VecEnvAdapter)
    tensors = {
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "generator": th.get_rng_state(),
        "cuda_generators": th.cuda.get_rng_state_all() if th.cuda.is_available() else [],
    }
    arrays: dict[str, Any] = env.snapshot() | {"last_obs": model._last_obs, "starts": model._last_episode_starts}
    if isinstance(model, OffPolicyAlgorithm):
        arrays |= _buffer_arrays(model)
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    arrays["global_keys"] = keys
    version, state, gauss = random.getstate()
    plain = {
        "counters": {each: getattr(model, each) for each in _COUNTERS if hasattr(model, each)},
        "numpy": [name, position, has_gauss, cached],
        "random": [version, list(state), gauss],
        "episodes": list(model.ep_info_buffer or []),
    }
    write_parts(folder, tensors, arrays, plain)


def write_parts(folder: Path, tensors: Any, arrays: dict[str, Any], plain: dict[str, Any]) -> None:
    """Write tensors, arrays and plain values; `folder` is replaced in one rename, so there is always a whole one.

    Raises:
        OSError: the parent folder is missing, cannot be written, or is full.
    """
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        write_tensors(temporary / "model.pt", tensors)
        np.savez(temporary / "arrays.npz", allow_pickle=False, **arrays)
        write_whole(temporary / "state.json", json.dumps(plain).encode())
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def check(folder: Path) -> None:
    """Take the last whole checkpoint, also if the process died between the two renames of `write`.

    Raises:
        AgentError: there is none, or a file is missing or damaged.
    """
    old = folder.with_name(f".{folder.name}.old")
    if not folder.exists() and old.exists():
        old.rename(folder)
    read_parts(folder)


def restore(folder: Path, model: BaseAlgorithm, env: VecEnvAdapter) -> None:
    """Put a checkpoint into a freshly made model and its environment.

    Raises:
        AgentError: the checkpoint is damaged, or of another scenario or settings.
    """
    tensors, arrays, plain = read_parts(folder)
    try:
        env.reset()
        env.restore(arrays)
        model.policy.load_state_dict(tensors["policy"])
        model.policy.optimizer.load_state_dict(tensors["optimizer"])
        th.set_rng_state(tensors["generator"])
        _restore_cuda(tensors.get("cuda_generators", []))
        for name, value in plain["counters"].items():
            setattr(model, name, value)
        model._last_obs = arrays["last_obs"]
        model._last_original_obs = None
        model._last_episode_starts = arrays["starts"]
        if isinstance(model, OffPolicyAlgorithm):
            _restore_buffer(model, arrays)
        name, position, has_gauss, cached = plain["numpy"]
        np.random.set_state((name, arrays["global_keys"], position, has_gauss, cached))  # noqa: NPY002
        version, state, gauss = plain["random"]
        random.setstate((version, tuple(state), gauss))
        model.ep_info_buffer = deque(plain["episodes"], maxlen=model._stats_window_size)
        model.ep_success_buffer = deque(maxlen=model._stats_window_size)
    except MISFITS as error:
        raise misfit(folder, error) from error


def steps(folder: Path) -> int:
    """Customer-days after which a checkpoint was made.

    Raises:
        AgentError: the checkpoint is missing or damaged.
    """
    try:
        return int(read_parts(folder)[2]["counters"]["num_timesteps"])
    except MISFITS as error:
        raise misfit(folder, error) from error


def misfit(folder: Path, error: Exception) -> AgentError:
    """What to say of a checkpoint that cannot be put back."""
    return AgentError(f"{folder}: the checkpoint does not fit this scenario and these settings ({error})")


def write_tensors(path: Path, tensors: Any) -> None:
    """Write tensors so that the file appears whole or not at all."""
    memory = io.BytesIO()
    th.save(tensors, memory)
    write_whole(path, memory.getvalue())


def read_tensors(path: Path) -> Any:
    """Read tensors; the file cannot run code.

    Raises:
        AgentError: the file is missing or damaged.
    """
    try:
        return th.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its zip and pickle readers do
        raise AgentError(f"{path}: cannot be read as weights ({type(error).__name__}: {error})") from error


def read_parts(folder: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Tensors, arrays and plain values of a checkpoint.

    Raises:
        AgentError: a file is missing or damaged.
    """
    tensors = read_tensors(folder / "model.pt")
    try:
        # Opened here, because NumPy does not close a file whose archive turns out to be damaged.
        with (folder / "arrays.npz").open("rb") as archive, np.load(archive, allow_pickle=False) as file:
            arrays = dict(file)
        plain = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except Exception as error:  # zip, array and JSON readers each have their own
        raise AgentError(f"{folder}: cannot be read as a checkpoint ({type(error).__name__}: {error})") from error
    return tensors, arrays, plain


def _restore_cuda(states: list[th.Tensor]) -> None:
    """Set the generators of the GPUs; a machine may have more or fewer of them than the checkpoint's, or none."""
    if th.cuda.is_available():
        for device, state in enumerate(states[: th.cuda.device_count()]):
            th.cuda.set_rng_state(state, device)


def _buffer_arrays(model: OffPolicyAlgorithm) -> dict[str, Any]:
    buffer: Any = model.replay_buffer
    filled = buffer.buffer_size if buffer.full else buffer.pos
    arrays = {f"buffer.{name}": getattr(buffer, name)[:filled] for name in _BUFFER}
    if isinstance(model, BatchedDQN) and model.stretches is not None:
        arrays |= {f"stretch.{name}": values for name, values in model.stretches.snapshot().items()}
    return arrays | {"buffer.position": np.array([buffer.pos, int(buffer.full)])}


def _restore_buffer(model: OffPolicyAlgorithm, arrays: dict[str, Any]) -> None:
    buffer: Any = model.replay_buffer
    for name in _BUFFER:
        stored = arrays[f"buffer.{name}"]
        getattr(buffer, name)[: len(stored)] = stored
    buffer.pos, full = (int(value) for value in arrays["buffer.position"])
    buffer.full = bool(full)
    if isinstance(model, BatchedDQN) and model.stretches is not None:
        begun = {
            name.removeprefix("stretch."): values for name, values in arrays.items() if name.startswith("stretch.")
        }
        model.stretches.restore(begun)
