"""The charts of a page as files: PNG for slides, SVG for papers, drawn by kaleido in a browser of its own."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from .. import errors
from ..cache import atomic
from . import themes
from .chart_json import chart, shown
from .page import CHART_HEIGHT, figures
from .parts import Figure, Page

Format = Literal["png", "svg"]

_WIDTH = 900
_TITLE_HEIGHT = 50
_PNG_SCALE = 2
"""Pixels of a PNG for each of the chart's: sharp on paper at the width of a page."""
_TABS = 2
"""In how many tabs of the browser: it loads plotly.js anew for each drawing, most of a second of one core."""
_BEGINNINGS: dict[Format, bytes] = {"png": b"\x89PNG", "svg": b"<svg"}


def require(folder: Path) -> None:
    """Raise early what `write_figures` would raise, as far as that is known without the charts.

    Raises
    ------
    UsageError
        If `folder` is a file or in no folder.
    MissingDependency
        If kaleido is not installed.
    """
    if importlib.util.find_spec("kaleido") is None:
        raise errors.MissingDependency(
            "Figures are drawn to files by kaleido, which is not installed: pip install 'icehouse[figures]'."
        )
    _check(folder, [], overwrite=False)


def write_figures(
    page: Page, folder: Path, formats: Sequence[Format] = ("png", "svg"), *, overwrite: bool = False
) -> list[Path]:
    """Write every chart of a page to FOLDER/NAME.png and FOLDER/NAME.svg, with its title, on white.

    Pictures out of pixels are no charts and not among them. Should two charts have one name, the later ones are
    numbered: NAME-2.

    Parameters
    ----------
    page : Page
    folder : Path
        Made if it does not exist; its own folder must.
    formats : sequence of {"png", "svg"}
    overwrite : bool
        Take the place of earlier drawings; nothing else is ever replaced.

    Returns
    -------
    list of Path
        In the order of the page.

    Raises
    ------
    UsageError
        If `folder` is a file or in no folder.
    OutputExists
        If a file of that name exists and `overwrite` is not set, or it is no drawing. Nothing is written then.
    MissingDependency
        If kaleido is not installed, or it finds no Chrome or Chromium, or that does not start.
    CacheError, DiskFull
        If a file could not be written.
    """
    require(folder)
    named = _named([figure for section in page.sections for figure in figures(section.parts)])
    tasks = [(figure, form, folder / f"{name}.{form}") for name, figure in named.items() for form in formats]
    _check(folder, [(path, form) for _, form, path in tasks], overwrite=overwrite)
    drawings = _draw([(figure, form) for figure, form, _ in tasks])
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise atomic.refusal(error, folder) from None
    for (_, _, path), drawing in zip(tasks, drawings, strict=True):
        atomic.write_bytes(path, drawing)
    return [path for _, _, path in tasks]


def _named(found: Sequence[Figure]) -> dict[str, Figure]:
    named: dict[str, Figure] = {}
    for figure in found:
        name, number = figure.name, 1
        while name in named:
            number += 1
            name = f"{figure.name}-{number}"
        named[name] = figure
    return named


def _check(folder: Path, files: Sequence[tuple[Path, Format]], *, overwrite: bool) -> None:
    """Raise unless all files may be written: see `write_figures`."""
    if folder.exists() and not folder.is_dir():
        raise errors.UsageError(f"{folder} is a file; name a folder for the figures.")
    if not folder.absolute().parent.is_dir():
        raise errors.UsageError(f"There is no folder {folder.parent} to make {folder.name} in.")
    for path, form in files:
        if not path.exists():
            continue
        if not overwrite:
            raise errors.OutputExists(
                f"{path} exists already. Give another folder, or replace the figures with --overwrite."
            )
        if not path.is_file() or not _begins(path, _BEGINNINGS[form]):
            raise errors.OutputExists(
                f"{path} is no {form.upper()} drawing, and --overwrite replaces nothing else: "
                "give another folder."
            )


def _begins(path: Path, beginning: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(beginning)) == beginning


def _draw(tasks: Sequence[tuple[Figure, Format]]) -> list[bytes]:
    """Return what is drawn of each figure, all in one browser."""
    if not tasks:
        return []
    from kaleido import Kaleido, PageGenerator
    from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError

    async def all_of_them() -> list[bytes]:
        # Without MathJax, which kaleido would fetch from the network.
        async with Kaleido(n=_TABS, page_generator=PageGenerator(mathjax=False)) as browser:
            drawings = [browser.calc_fig(_plate(figure), _options(figure, form)) for figure, form in tasks]
            done: list[bytes] = await asyncio.gather(*drawings)
            return done

    try:
        # In a thread of its own: a notebook already runs a loop in this one.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, all_of_them()).result()
    except ChromeNotFoundError:
        raise errors.MissingDependency(
            "Figures are drawn to files in Chrome or Chromium, and neither is found: install one (on Debian: "
            "apt install chromium; or kaleido_get_chrome, which downloads one), or name it in BROWSER_PATH."
        ) from None
    except (BrowserClosedError, BrowserFailedError) as error:
        raise errors.MissingDependency(
            f"The browser that figures are drawn in does not start ({type(error).__name__}): start it by "
            "hand to see why, or name another one in BROWSER_PATH."
        ) from None


def _options(figure: Figure, form: Format) -> dict[str, Any]:
    height = (figure.plot.layout.height or CHART_HEIGHT) + _TITLE_HEIGHT
    return {
        "format": form,
        "width": _WIDTH,
        "height": height,
        "scale": _PNG_SCALE if form == "png" else 1,
    }


def _plate(figure: Figure) -> dict[str, Any]:
    """Return a figure as it is drawn to a file: light, with its title above."""
    drawn = chart(figure)
    template = themes.template(themes.LIGHT)
    template["layout"]["title"] = {
        "x": 0,
        "xref": "container",
        "xanchor": "left",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "pad": {"l": 16, "t": 16, "b": 12},
        "automargin": True,
        "font": {"size": 17},
    }
    drawn["layout"] |= {"template": template, "title": {"text": f"<b>{shown(figure.title)}</b>"}}
    return drawn
