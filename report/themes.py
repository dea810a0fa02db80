"""Light and dark: the colours of a page, and how the charts on it are drawn.

What tells the things in a chart apart is in `colours`; here is everything around them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .colours import style

_COLOURS = 6
"""As many as `colours` has before it begins again."""

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif'

LIGHT: Mapping[str, str] = {
    "ground": "#f7f8f9",
    "card": "#ffffff",
    "ink": "#1b222c",
    "pale": "#545e6b",
    "line": "#d9dde3",
    "grid": "#e7eaee",
    "accent": "#0a5c9e",
    "accent-ground": "#e9f1f8",
    "alarm": "#9c1c14",
    "alarm-ground": "#fcecea",
}
"""What each colour is for: texts (ink, pale), lines, links (accent), alarms, and what they stand on."""

DARK: Mapping[str, str] = {
    "ground": "#10141a",
    "card": "#171c24",
    "ink": "#e5e9ee",
    "pale": "#a4aebb",
    "line": "#343d4a",
    "grid": "#2a323d",
    "accent": "#82bdf2",
    "accent-ground": "#1b2a3a",
    "alarm": "#ffa198",
    "alarm-ground": "#3a1f1d",
}


def template(theme: Mapping[str, str]) -> dict[str, Any]:
    """Return a theme as a template of Plotly's: it decides whatever a figure leaves open."""
    axis = {
        "automargin": True,
        "exponentformat": "power",
        "gridcolor": theme["grid"],
        "linecolor": theme["line"],
        "tickcolor": theme["line"],
        "zerolinecolor": theme["line"],
        "title": {"standoff": 8},
    }
    bar = {"outlinewidth": 0, "thickness": 14, "ticks": "outside", "tickcolor": theme["line"]}
    layout = {
        "font": {"family": FONT, "size": 13, "color": theme["ink"]},
        # Not transparent: a chart that is saved out of a dark page would be white on white.
        "paper_bgcolor": theme["card"],
        "plot_bgcolor": theme["card"],
        "colorway": [style(number).colour for number in range(_COLOURS)],
        "margin": {"l": 56, "r": 16, "t": 36, "b": 48},
        "xaxis": axis,
        "yaxis": axis,
        # Above the chart, so that it takes no width on a phone and never lies on the axis' title.
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "hoverlabel": {
            "bgcolor": theme["card"],
            "bordercolor": theme["pale"],
            "font": {"family": FONT, "size": 13, "color": theme["ink"]},
        },
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": theme["pale"],
            "activecolor": theme["accent"],
        },
        "coloraxis": {"colorbar": bar},
    }
    return {"layout": layout, "data": {"heatmap": [{"colorbar": bar}]}}
