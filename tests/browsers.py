"""A Chromium for the tests of the HTML page, one of the system or one that Playwright has; `python -m tests.browsers` gets one.

It must never write outside of its Python environment, or fail for lack of a network.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FOLDER = Path(sys.prefix) / "browsers"
PLACE = "PLAYWRIGHT_BROWSERS_PATH"
PATIENCE = 300  # seconds for the download
_LETTERS = 160  # of why a browser does not start
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


def launched(playwright: Any) -> tuple[Any, str]:
    """A browser that runs and what it is, or None and why there is none."""
    reasons = []
    for path in (*filter(None, map(shutil.which, NAMES)), None):
        try:
            found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Exception as error:  # whatever keeps it from running is a reason to try the next
            reasons.append(f"{path or 'Playwright'}: {' '.join(str(error).split())[:_LETTERS]}")
        else:
            return found, f"Chromium {found.version}, {path or 'of Playwright'}"
    return None, "; ".join(reasons)


def prepared() -> None:
    """Let Playwright look where `main` puts browsers, unless the environment says otherwise; before it is started."""
    if FOLDER.is_dir():
        os.environ.setdefault(PLACE, str(FOLDER))


def main() -> None:
    """Say which browser the tests will use; where there is none, try to fetch one into the environment."""
    found, words = _tried()
    if not found:
        where = os.environ.get(PLACE) or str(FOLDER)
        command = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
        try:
            done = subprocess.run(
                command, env={**os.environ, PLACE: where}, capture_output=True, text=True, timeout=PATIENCE
            )
            reason = "" if done.returncode == 0 else _why(done.stderr + done.stdout)
        except subprocess.TimeoutExpired:
            reason = f"the download took longer than {PATIENCE} seconds"
        found, words = _tried()
        words = reason or words
    if found:
        print(f"browser tests: {words}")
    else:
        print(f"browser tests will be SKIPPED, there is no Chromium that runs and none could be fetched: {words}")


def _tried() -> tuple[bool, str]:
    from playwright.sync_api import sync_playwright

    prepared()
    with sync_playwright() as playwright:
        found, words = launched(playwright)
        if found:
            found.close()
    return bool(found), words


def _why(text: str) -> str:
    """The first line that names an error."""
    lines = (line.strip().removesuffix(", caused by") for line in text.splitlines())
    return next((line for line in lines if "Error" in line), "no reason given")


class Visit:
    """A page that is open, with all that the browser complained about or asked for."""

    def __init__(self, browser: Any, folder: Path, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": DESK, **options})
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.goto((folder / "page.html").as_uri())

    def _asked(self, url: str) -> None:
        if not url.startswith(("file:", "data:")):
            self.complaints.append(f"asked for {url}")

    def agents(self) -> list[str]:
        found: list[str] = self.page.eval_on_selector_all("#board tbody tr", "rows => rows.map(r => r.dataset.agent)")
        return found

    def column(self, title: str) -> list[str]:
        place = self.page.eval_on_selector_all("#board thead th", "heads => heads.map(h => h.textContent)").index(title)
        found: list[str] = self.page.eval_on_selector_all(
            "#board tbody tr:not(.failed)", f"rows => rows.map(r => r.children[{place}].textContent)"
        )
        return found


# Texts that stand out too little from what is behind them.
CONTRAST = """
() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] + under[i] * (1 - top[3]));
  const light = (rgb) => { const [r, g, b] = rgb.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    if (!node.getClientRects().length || ![...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim())) continue;
    const chain = []; for (let each = node; each; each = each.parentElement) chain.push(each);
    let ground = [255, 255, 255];
    for (const each of chain.reverse()) ground = over(parse(getComputedStyle(each).backgroundColor), ground);
    const style = getComputedStyle(node), ink = over(parse(node instanceof SVGElement ? style.fill : style.color), ground);
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(`${node.tagName} ${ratio.toFixed(2)} ${node.textContent.slice(0, 30)}`);
  }
  return found;
}
"""

if __name__ == "__main__":
    main()
