"""A real browser without a window that pages are opened in; where there is none, tests are skipped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Return a browser of Playwright's, one for all tests of a process."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(browser) -> Iterator[Callable[..., tuple[Any, list[str]]]]:
    """Return a function that opens a file and returns Playwright's page, all drawn, and a list of problems.

    A problem is an error or a warning in the console, a script that failed, a dialogue, and any request but
    the one for the file; the list grows for as long as the page is open. `before` is a script that runs before
    those of the page; `scripts=False` is a browser without JavaScript.
    """
    contexts = []

    def open_page(
        path: Path, *, width: int = 1280, dark: bool = False, before: str = "", scripts: bool = True
    ) -> tuple[Any, list[str]]:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            reduced_motion="reduce",  # scrolling takes no time then
        )
        contexts.append(context)
        problems: list[str] = []

        def answer(route: Any) -> None:
            if route.request.url == path.as_uri():
                route.continue_()
            else:
                problems.append(f"requested {route.request.url}")
                route.abort()

        context.route("**/*", answer)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda said: said.type in ("error", "warning") and problems.append(said.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: (problems.append(f"asked {dialog.message}"), dialog.dismiss()))
        if before:
            page.add_init_script(before)
        page.goto(path.as_uri())
        if scripts:
            page.wait_for_selector("html[data-ready]", state="attached")
        return page, problems

    yield open_page
    for context in contexts:
        context.close()
