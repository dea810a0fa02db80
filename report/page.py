"""Pages that open offline: one HTML file with everything in it, charts and pictures too, that asks for nothing.

What a page is made of is in `parts`. Texts out of files and labels are escaped here, and nowhere else.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from .. import errors
from ..cache import atomic
from . import themes
from .chart_json import chart
from .parts import Cell, Columns, Figure, Folded, Page, Part, Table
from .tables import DISCLAIMER

CHART_HEIGHT = 420
"""The height of a chart that names none, in pixels."""

_MARK = b'<meta name="generator" content="icehouse">'
_MARK_WITHIN = 4096
_NUMBER = re.compile(r"[+\-−]?(?:\d[\d,]*)?\.?\d+(?=$|[\s%±(])")
_NOTHING = ("", "-", "–", "—", "none")
_KINDS = {b"\xff\xd8": "image/jpeg", b"\x89P": "image/png", b"RI": "image/webp"}


def require() -> None:
    """Raise MissingDependency unless Plotly and Jinja are installed."""
    try:
        import jinja2
        import plotly.offline

        _ = jinja2, plotly.offline
    except ImportError as error:
        raise errors.MissingDependency(
            f"Pages are made with Plotly and Jinja, and {error.name} is not installed: "
            "pip install 'icehouse[report]'."
        ) from None


def write(page: Page, path: Path, *, overwrite: bool = False) -> None:
    """Write a page to one file, all of it or nothing.

    Parameters
    ----------
    page : Page
    path : Path
        An HTML file; its folder must exist.
    overwrite : bool
        Take the place of an earlier page; nothing else is ever replaced.

    Raises
    ------
    UsageError
        If `path` is a folder or in none.
    OutputExists
        If it exists and `overwrite` is not set, or it is something else than a page of icehouse.
    MissingDependency
        If Plotly or Jinja is not installed.
    CacheError, DiskFull
        If it could not be written.
    """
    free(path, overwrite=overwrite)
    atomic.write_bytes(path, html(page).encode())


def free(path: Path, *, overwrite: bool) -> None:
    """Raise UsageError or OutputExists unless a page may be written at `path`: see `write`."""
    if path.name and not path.is_dir() and path.suffix.lower() not in (".html", ".htm"):
        raise errors.UsageError(f"{path} is to be a page: name it like one, such as {path.stem}.html.")
    atomic.free(path, "page of icehouse", _is_page, overwrite=overwrite, such_as=", such as report.html")


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        return _MARK in file.read(_MARK_WITHIN)


def figures(parts: Sequence[Part]) -> Iterator[Figure]:
    """Yield the charts among parts, those in columns and folded ones too, in the order of the page."""
    for part in parts:
        if isinstance(part, Figure):
            yield part
        elif isinstance(part, Folded):
            yield from figures(part.parts)
        elif isinstance(part, Columns):
            for _, within in part.columns:
                yield from figures(within)


def html(page: Page) -> str:
    """Return a page as HTML: its styles, scripts, charts and pictures are inside, and it requests nothing.

    A policy in its head makes the browser refuse every request, and every script but the page's own two.

    Parameters
    ----------
    page : Page

    Returns
    -------
    str
        It can be written as UTF-8: what cannot, such as half a character in a file's name, becomes a "?".

    Raises
    ------
    MissingDependency
        If Plotly or Jinja is not installed.
    """
    require()
    import jinja2
    from markupsafe import Markup

    pictures: dict[bytes, int] = {}
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "kind": lambda part: type(part).__name__.lower(),
        "paragraphs": lambda text: [block for block in re.split(r"\n\s*\n", text.strip()) if block],
        "data_uri": _data_uri,
        "sortable": _sortable,
        "height": lambda figure: figure.plot.layout.height or CHART_HEIGHT,
        "chart": lambda figure: Markup(_json(_drawn(figure, pictures))),
    }
    script = _asset("page.js")
    charts = any(True for section in page.sections for _ in figures(section.parts))
    library = _library() if charts else None
    templates = {name: themes.template(theme) for name, theme in _THEMES.items()}
    body = environment.from_string(_asset("page.html.jinja")).render(
        page=page,
        disclaimer=DISCLAIMER,
        number=itertools.count(1).__next__,
        style=Markup(_asset("page.css")),
        light=Markup(_variables(themes.LIGHT)),
        dark=Markup(_variables(themes.DARK)),
        font=Markup(themes.FONT),
        script=Markup(script),
        library=library.packed if library else "",
        sources=" ".join([_source(script), *([library.source] if library else [])]),
        templates=Markup(_json(templates)),
        # Written last, when all charts have said which pictures they show; one that several show is there once.
        pictures=lambda: Markup(_json([_data_uri(picture) for picture in pictures])),
    )
    return body.encode("utf-8", "replace").decode()


_THEMES = {"light": themes.LIGHT, "dark": themes.DARK}


class _Library(NamedTuple):
    """The script that draws charts, packed: it takes 2 MB of a page then and not 4.8."""

    packed: str
    source: str


@cache
def _library() -> _Library:
    from plotly.offline import get_plotlyjs

    script = get_plotlyjs()
    return _Library(_base64(gzip.compress(script.encode(), mtime=0)), _source(script))


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _variables(theme: Any) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in theme.items())


def _source(script: str) -> str:
    """Return what the policy calls a script by: its hash, so that no other runs."""
    return f"'sha256-{_base64(hashlib.sha256(script.encode()).digest())}'"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _data_uri(picture: bytes) -> str:
    return f"data:{_KINDS[picture[:2]]};base64,{_base64(picture)}"


def _json(value: Any) -> str:
    """Return JSON that can stand inside of <script>: no "<", so nothing in it ends or comments out anything."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c")


def _drawn(figure: Figure, pictures: dict[bytes, int]) -> dict[str, Any]:
    """Return what the page's script draws a chart from; its pictures are numbered among all of the page's."""
    drawn = {"name": figure.name, **chart(figure)}
    # The page decides the width, and gives the height to the box around the chart.
    drawn["layout"] = {
        name: value for name, value in drawn["layout"].items() if name not in ("width", "height")
    }
    if figure.thumbnails:
        drawn["pictures"] = [pictures.setdefault(picture, len(pictures)) for picture in figure.thumbnails]
        drawn["names"] = figure.names
    return drawn


@dataclass(frozen=True)
class _Shown:
    """A cell as it is written: `key` is what it is sorted by (None: last), `number` whether to the right."""

    text: str
    key: float | str | None
    number: bool
    alarm: bool


def _sortable(table: Table) -> dict[str, Any]:
    """Return a table's cells with what they are sorted by, and which columns are of numbers.

    A text is sorted by the number that it begins with where all texts of its column begin with one, such as
    "0.91 ± 0.02" or "12 images", else by itself.
    """
    columns = range(len(table.headings))
    keys = [_keys([row[column] for row in table.rows]) for column in columns]
    # A row's first cell names it, and stands at the left even if it is a number.
    numbers = [
        column > 0
        and any(key is not None for key in keys[column])
        and all(isinstance(key, float) for key in keys[column] if key is not None)
        for column in columns
    ]

    def shown(cell: str | Cell, column: int, key: float | str | None) -> _Shown:
        text, alarm = (cell.text, cell.alarm) if isinstance(cell, Cell) else (cell, False)
        return _Shown(text, key, numbers[column], alarm)

    return {
        "numbers": numbers,
        "rows": [
            [shown(cell, column, keys[column][line]) for column, cell in enumerate(row)]
            for line, row in enumerate(table.rows)
        ],
        "foot": [[shown(cell, column, None) for column, cell in enumerate(row)] for row in table.foot],
    }


def _keys(cells: Sequence[str | Cell]) -> list[float | str | None]:
    """Return what the cells of one column are sorted by."""
    given = [cell.sort for cell in cells if isinstance(cell, Cell) and cell.sort is not None]
    if given:
        numbers_only = not any(isinstance(sort, str) for sort in given)
        return [
            _key(cell.sort if isinstance(cell, Cell) else cell, number_in_text=numbers_only) for cell in cells
        ]
    texts = [cell.text if isinstance(cell, Cell) else cell for cell in cells]
    numbers = [_leading(text) for text in texts]
    if all(number is not None or text in _NOTHING for number, text in zip(numbers, texts, strict=True)):
        return list(numbers)
    return [_key(text) for text in texts]


def _key(sort: float | str | None, *, number_in_text: bool = False) -> float | str | None:
    if isinstance(sort, str):
        number = _leading(sort) if number_in_text else None
        return number if number is not None else None if sort in _NOTHING else sort
    return None if sort is None or math.isnan(sort) else float(sort)


def _leading(text: str) -> float | None:
    found = _NUMBER.match(text.strip())
    return float(found.group().replace(",", "").replace("−", "-")) if found else None
