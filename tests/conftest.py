"""What every test may rely on."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import browsers

# A shell that runs the tests in the background has them ignore Ctrl-C, and so would the commands that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium that runs; `make browser` gets one."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    browsers.prepared()
    with api.sync_playwright() as playwright:
        found, words = browsers.launched(playwright)
        if found is None:
            pytest.skip(f"there is no Chromium that runs: {words}")
        yield found
        found.close()


@pytest.fixture
def visit(browser: Any, folder: Path) -> Iterator[browsers.Visit]:
    """The page in a test file's own `folder`, open at a desk; nothing to complain about when the test is over."""
    found = browsers.Visit(browser, folder)
    yield found
    assert found.complaints == []
    found.context.close()


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for what a test file compiles, and nothing remembered from other tests or for them."""
    from blockenv.compiled import choice

    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setattr(choice, "_ready", {})
        yield folder
