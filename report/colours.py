"""The colours, dashes and symbols of charts: the same head looks the same in every figure of a page.

The colours are told apart by the colour-blind too, and on light and dark ground; dashes and symbols say the
same without colour.
"""

from __future__ import annotations

from typing import NamedTuple


class Style(NamedTuple):
    """How one thing among several is drawn, in Plotly's words."""

    colour: str
    dash: str
    symbol: str


# Okabe and Ito's palette (Color Universal Design, 2008) without black and yellow, which vanish on one ground.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")

SEQUENTIAL = "Viridis"
"""The scale of amounts, such as counts: even in lightness."""


def style(number: int) -> Style:
    """Return how thing number 0, 1, 2, … is drawn."""
    return Style(
        _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)], _SYMBOLS[number % len(_SYMBOLS)]
    )
