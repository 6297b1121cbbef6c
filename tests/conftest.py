"""What every test may rely on."""

import signal
from collections.abc import Iterator
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
