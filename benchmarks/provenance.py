"""What a result must carry so that somebody else can get it again: versions, machine, code, scenario."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "gymnasium", "torch", "stable-baselines3", "sb3-contrib", "array-api-compat")


def versions() -> dict[str, str]:
    """Versions of Python, this project and the packages that can change a result."""
    import blockenv

    found = {"python": platform.python_version(), "blockenv": blockenv.__version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def hardware() -> dict[str, Any]:
    """The machine, in words."""
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "accelerator": _accelerator(),
    }


def commit() -> str:
    """The commit of the checkout, with a plus if files differ from it; `unknown` outside of a checkout."""
    root = Path(__file__).resolve().parent.parent
    try:
        if Path(_git(root, "rev-parse", "--show-toplevel")).resolve() != root:
            return "unknown"  # unpacked inside of somebody else's checkout
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout.strip()


def _accelerator() -> str:
    """The GPU, as far as PyTorch has been loaded; rules do not wait for it."""
    torch = sys.modules.get("torch")
    return str(torch.cuda.get_device_name()) if torch is not None and torch.cuda.is_available() else "none"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
