"""The audit's chart: how alike pairs of different patients are, and where the thresholds lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from .colours import style
from .parts import Figure


def similarities(document: dict[str, Any]) -> tuple[Figure, ...]:
    """Return the distribution of each search's similarities; none where too few pairs were drawn."""
    from plotly import graph_objects

    figures = []
    for number, (name, counts) in enumerate(document["similarities"].items()):
        edges = np.linspace(-1, 1, len(counts) + 1)
        middles = (edges[:-1] + edges[1:]) / 2
        wanted = document["thresholds"][name]
        bars = graph_objects.Bar(
            x=middles.tolist(), y=counts, width=2 / len(counts), marker={"color": style(number).colour}
        )
        plot = graph_objects.Figure(bars)
        plot.add_vline(x=wanted, line={"dash": "dash", "color": style(1 - number).colour})
        side = "right" if wanted > 0 else "left"
        text = f"threshold {wanted:.2f} "
        plot.add_annotation(x=wanted, y=1, yref="paper", text=text, showarrow=False, xanchor=side)
        plot.update_layout(
            xaxis={"title": f"Cosine of {name}", "range": [-1, 1]},
            yaxis={"title": "Pairs drawn", "type": "log"},
            showlegend=False,
            bargap=0,
        )
        drawn = sum(counts)
        beyond = sum(count for middle, count in zip(middles.tolist(), counts, strict=True) if middle >= wanted)
        figures.append(
            Figure(
                f"similarity-of-{name}",
                f"How alike pairs are, by {name}",
                f"A histogram of the cosines of {name} of {drawn:,} pairs with the threshold at {wanted:.2f}; "
                f"{beyond} pairs lie beyond it.",
                plot,
                "Pairs drawn at random, of different patients where enough are known. Copies lie far right.",
            )
        )
    return tuple(figures)
