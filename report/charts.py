"""What charts share: who is shown in which colour, texts that Plotly does not interpret, axes, legends.

Charts are made to be read at 360 pixels too: panels stand below each other, legends below the plot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..classify.comparison import labels_of
from ..classify.runs import Record
from . import colours
from .judged import Judged
from .results import by_unit, noun_of

GREY = "#808080"
"""Of lines that help to read a chart: seen on light and dark ground."""

_MOST = 20
"""Characters of a name beside an axis or in a legend."""
_ROW = 22
"""Pixels that a line of a legend takes."""


@dataclass(frozen=True)
class Shown:
    """A head as it is shown beside others, of its run and of others.

    Parameters
    ----------
    number : int
        Which of all heads shown: it decides its colour, dash and symbol.
    label : str
        The head; RUN/HEAD where there are several runs.
    text : str
        The same for charts, where it is never like another's.
    head : str
    document : dict
        Its run's results, by image or by unit.
    noun : str
        What is judged: "images", "patients", ….
    run : Judged
    """

    number: int
    label: str
    text: str
    head: str
    document: dict[str, Any]
    noun: str
    run: Judged

    @property
    def style(self) -> colours.Style:
        return colours.style(self.number)

    @property
    def metrics(self) -> dict[str, Any]:
        """Of each metric what `summary.summarize` says."""
        return dict(self.document["heads"][self.head])

    def entries(self, metrics: Iterable[str]) -> list[dict[str, Any]]:
        return [self.metrics[name] for name in metrics]

    @property
    def records(self) -> list[Record]:
        return self.run.records[self.head]


def shown(runs: Sequence[Judged]) -> list[Shown]:
    """Return every head of every run that has all its rounds."""
    labels = labels_of([run.stored for run in runs])
    places = [(number, head) for number, run in enumerate(runs) for head in run.document["heads"]]
    texts = distinct([labels[place] for place in places])
    return [
        Shown(count, labels[number, head], texts[count], head, runs[number].document, "images", runs[number])
        for count, (number, head) in enumerate(places)
    ]


def of_units(heads: Sequence[Shown]) -> dict[str, list[Shown]]:
    """Return the heads that were judged by unit, with those results, under what the unit is called."""
    found: dict[str, list[Shown]] = {}
    for head in heads:
        if (by := head.document["by"]) is not None:
            noun = noun_of(by)
            found.setdefault(noun, []).append(replace(head, document=by_unit(head.document), noun=noun))
    return found


def plain(text: object, most: int = _MOST) -> str:
    """Return a text for a chart: whatever it holds, Plotly shows it as it is, and shortened where it is long.

    Plotly takes texts for pseudo-HTML (tags, entities), for templates (%{…}) and, where MathJax is loaded, for
    TeX ($…$); entities are what it shows as they are meant.
    """
    whole = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", str(text)).split())
    if len(whole) > most:
        whole = f"{whole[: most * 2 // 3]}…{whole[len(whole) - most // 3 + 1 :]}"
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("$", "&#36;"), ("%{", "&#37;{")):
        whole = whole.replace(character, entity)
    return whole


def distinct(names: Sequence[str], most: int = _MOST) -> list[str]:
    """Return names for a chart: those that are alike once they are shortened are told apart by their place."""
    texts = [plain(name, most) for name in names]
    return [
        text if texts.count(text) == 1 else f"{place + 1}. {plain(name, most - 4)}"
        for place, (name, text) in enumerate(zip(names, texts, strict=True))
    ]


def chart(height: int, *, legend: Sequence[str] = (), rows: int = 1, columns: int = 1, **subplots: Any) -> Any:
    """Return an empty chart; fonts, ground and the colours of axes are the page's.

    Parameters
    ----------
    height : int
        Of the plot with its axes, in pixels; the legend comes on top of that.
    legend : sequence of str
        What will stand in it, below the plot; no legend without.
    rows, columns : int
        Of panels.
    **subplots
        What `plotly.subplots.make_subplots` takes besides.
    """
    from plotly.graph_objects import Figure, layout
    from plotly.subplots import make_subplots

    figure = Figure() if rows * columns == 1 else make_subplots(rows, columns, **subplots)
    lines = legend_lines(legend)
    figure.update_layout(
        template=layout.Template(),
        height=height + lines * _ROW,
        margin={"l": 8, "r": 12, "t": 12, "b": 8},
        showlegend=bool(legend),
        hovermode="closest",
    )
    if legend:
        figure.update_layout(
            legend={
                "orientation": "h",
                "yref": "container",
                "y": 0,
                "yanchor": "bottom",
                "x": 0,
                "xanchor": "left",
            }
        )
    return figure


def legend_lines(legend: Sequence[str]) -> int:
    """Return how many lines a legend takes where there is little room: two short entries a line, one long."""
    short = all(len(text) < 14 for text in legend)
    return -(-len(legend) // 2) if short else len(legend)


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis with a title, and room for its labels."""
    return {
        "title": {"text": title, "standoff": 8},
        "automargin": True,
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        **more,
    }


def names_axis(texts: Sequence[str]) -> dict[str, Any]:
    """Return a vertical axis with names, made for charts, from the top down, the first at 0."""
    return axis(
        "",
        tickvals=list(range(len(texts))),
        ticktext=list(texts),
        range=[len(texts) - 0.4, -0.6],
        showgrid=False,
        fixedrange=True,
    )


def interval_bar(value: float, low: float | None, high: float | None, colour: str) -> dict[str, Any]:
    """Return the bar of an interval around a mark, in Plotly's words; nothing where there is none."""
    if low is None or high is None:
        return {}
    ends = {"array": rounded([high - value]), "arrayminus": rounded([value - low])}
    return {"error_x": {"type": "data", "symmetric": False, **ends, "color": colour, "thickness": 2}}


def rounded(values: Any, digits: int = 4) -> list[float | None]:
    """Return numbers as a chart needs them: no more digits than are seen, None for what is undefined."""
    return [None if value is None or value != value else round(float(value), digits) for value in values]


def see_through(colour: str, opacity: float) -> str:
    """Return a colour such as "#0072b2" that lets through what lies behind it."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"
