"""What a page is made of, as plain data: words, tables, figures and pictures, in sections.

Whoever has something to show makes parts; `page` makes them into HTML, and `plates` figures into files. Texts
are plain: names out of files and labels are escaped where they are written, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Words:
    """Some paragraphs.

    Parameters
    ----------
    text : str
        Paragraphs are divided by empty lines.
    kind : {"plain", "note", "alarm", "code"}
        A note is set off, an alarm more so; code is shown as it is typed, lines and all.
    """

    text: str
    kind: Literal["plain", "note", "alarm", "code"] = "plain"


@dataclass(frozen=True)
class Cell:
    """What stands in a table, and what it is sorted by, where that is not the text itself.

    Parameters
    ----------
    text : str
    sort : float, str or None
        None stands last, however the table is sorted.
    alarm : bool
        To be set off.
    """

    text: str
    sort: float | str | None = None
    alarm: bool = False


@dataclass(frozen=True)
class Table:
    """A table that the reader can sort by any column.

    Parameters
    ----------
    caption : str
        What it shows, for those who only hear it, too.
    headings : tuple of str
    rows : tuple of tuple
        Texts and `Cell`s, one for each heading; the first of each row names it.
    foot : tuple of tuple
        Rows that stay below when the others are sorted, such as the mean.
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    foot: tuple[tuple[str | Cell, ...], ...] = ()


@dataclass(frozen=True)
class Figure:
    """A chart.

    Parameters
    ----------
    name : str
        Of its file, where it is written to one: small letters, digits and hyphens, one of a kind in its page.
    title : str
    alt : str
        What is seen in it, in words with its main numbers, for those who cannot see it.
    plot : plotly.graph_objects.Figure
        Without title, fonts and background of its own: the page sets them, light or dark.
    caption : str
    thumbnails : tuple of bytes
        JPEG, PNG or WebP pictures of its points, shown beside it for the point under the pointer or the one
        chosen by keyboard; a point's `customdata[0]` says which is its own.
    names : tuple of str
        What is written under each thumbnail.
    """

    name: str
    title: str
    alt: str
    plot: Any
    caption: str = ""
    thumbnails: tuple[bytes, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A picture out of pixels.

    Parameters
    ----------
    alt : str
        What it is, for those who cannot see it.
    data : bytes
        A JPEG, PNG or WebP file.
    caption : str
        Lines under it, divided by line breaks.
    """

    alt: str
    data: bytes
    caption: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures beside each other, as many in a line as there is room for."""

    title: str
    pictures: tuple[Picture, ...]
    caption: str = ""


@dataclass(frozen=True)
class Columns:
    """Parts side by side where there is room, else one after the other: (heading, parts) each."""

    columns: tuple[tuple[str, tuple[Part, ...]], ...]


@dataclass(frozen=True)
class Folded:
    """Parts that the reader unfolds; `opened` says that they are at first."""

    title: str
    parts: tuple[Part, ...]
    opened: bool = False


Part = Words | Table | Figure | Gallery | Columns | Folded


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading that the table of contents leads to."""

    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Page:
    """A page.

    Parameters
    ----------
    title : str
    about : str
        A line or two under the title.
    sections : tuple of Section
    predictions : bool
        Whether it shows what heads say of images, and so has to say that this is no medical device.
    """

    title: str
    about: str
    sections: tuple[Section, ...]
    predictions: bool = True
