"""Confusion matrices as a section: what was taken for what, summed over rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import colours
from .charts import Shown, axis, chart, distinct, of_units, shown
from .judged import Judged
from .numbers import share_text
from .parts import Cell, Columns, Figure, Folded, Part, Section, Table, Words
from .results import judgements_text

_ABREAST = 2
_MOST_COUNTED = 10
"""With more classes than these a cell has no room for a count beside its share; the table has both."""


def confusion(runs: Sequence[Judged]) -> Section | None:
    """Return the confusion matrices of all heads, as pictures and as tables; None without a head."""
    heads = shown(runs)
    if not heads:
        return None
    parts: list[Part] = [
        Words(
            "A row is a true class: its cells say how many of its judgements were for each class, and what "
            "share of the row that is. An image that is tested in several rounds is counted in each."
        )
    ]
    parts += _side_by_side(heads)
    for noun, judged in of_units(heads).items():
        parts.append(Folded(f"By unit: {noun}", tuple(_side_by_side(judged)), opened=True))
    return Section("Confusion matrices", tuple(parts))


def _side_by_side(heads: list[Shown]) -> list[Part]:
    return [
        Columns(tuple((head.label, _matrix(head)) for head in heads[start : start + _ABREAST]))
        for start in range(0, len(heads), _ABREAST)
    ]


def _matrix(head: Shown) -> tuple[Part, ...]:
    document, classes = head.document, head.document["classes"]
    counts = document["confusion"][head.head]["sum"]
    said = judgements_text(document, head.head, head.noun)
    suffix = "" if head.noun == "images" else f"-{head.noun.split()[0]}"
    figure = Figure(
        f"confusion-{head.number + 1}{suffix}",
        f"{head.label}: {said}",
        " ".join(_sentence(name, classes, row) for name, row in zip(classes, counts, strict=True)),
        _picture(classes, counts),
    )
    table = Table(
        f"{head.label}: {said}; in brackets the share of the true class",
        ("true class", *(f"as {name}" for name in classes)),
        tuple(
            (name, *(Cell(share_text(count, sum(row)), count) for count in row))
            for name, row in zip(classes, counts, strict=True)
        ),
    )
    return figure, Folded("As a table", (table,))


def _sentence(name: str, classes: list[str], row: list[int]) -> str:
    """Say what a true class was taken for, the most frequent first."""
    total = sum(row)
    if not total:
        return f"{name} was not tested."
    ranked = sorted(zip(row, classes, strict=True), key=lambda pair: -pair[0])
    taken = ", ".join(f"{share_text(count, total)} as {other}" for count, other in ranked[:3] if count)
    return f"{name}: of {total} judgements {taken}."


def _picture(classes: list[str], counts: list[list[int]]) -> Any:
    totals = [sum(row) for row in counts]
    shares = [
        [None if not total else round(100 * count / total, 1) for count in row]
        for row, total in zip(counts, totals, strict=True)
    ]
    count = len(classes)
    names = distinct(classes, 60)  # two that are alike would be one line of cells
    texts = [
        [_text(number, share, count) for number, share in zip(row, of_row, strict=True)]
        for row, of_row in zip(counts, shares, strict=True)
    ]
    figure = chart((150 if count > _MOST_COUNTED else 80) + max(150, min(520, 70 * count)))
    figure.add_heatmap(
        z=shares,
        x=names,
        y=names,
        text=texts,
        texttemplate="%{text}",
        customdata=counts,
        hovertemplate="%{y} taken for %{x}: %{customdata} (%{z:.1f} %)<extra></extra>",
        colorscale=colours.SEQUENTIAL,
        zmin=0,
        zmax=100,
        xgap=1,
        ygap=1,
        showscale=count > _MOST_COUNTED,
        colorbar={
            "orientation": "h",
            "thickness": 10,
            "y": 1,
            "yanchor": "bottom",
            "ticksuffix": " %",
            "title": {"text": "share of the true class", "side": "top"},
        },
    )
    ticks = {
        "type": "category",
        "tickvals": list(range(count)),
        "ticktext": distinct(classes, 16),
        "showgrid": False,
        "ticks": "",
        "fixedrange": True,
    }
    figure.update_xaxes(**axis("taken for", **ticks))
    figure.update_yaxes(**axis("true class", **ticks, autorange="reversed"))
    return figure


def _text(count: int, share: float | None, classes: int) -> str:
    """Return what stands in a cell; Plotly makes it as small as the cell needs."""
    if share is None:
        return "–"
    if classes > _MOST_COUNTED:
        return f"{share:.0f}%" if count else ""
    return f"{count}<br>{share:.1f}%"
