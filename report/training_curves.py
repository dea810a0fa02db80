"""Training as a section: loss and accuracy at each epoch, of the heads that keep a history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .charts import Shown, axis, chart, rounded, see_through, shown
from .judged import Judged
from .parts import Columns, Figure, Section, Words

_MOST = 200
"""Epochs in a line: of longer histories every second, third, …"""
_SIDES = (("", "training part", "solid"), ("val_", "validation part", "dash"))


def training(runs: Sequence[Judged]) -> Section | None:
    """Return loss and accuracy of each epoch, or None if no head keeps a history."""
    heads = shown(runs)
    figures = [
        _figure(heads, "loss", "loss (cross-entropy, nats)"),
        _figure(heads, "accuracy", "accuracy"),
    ]
    drawn = [figure for figure in figures if figure is not None]
    if not drawn:
        return None
    told = Words(
        "Lines are means over the rounds, and bands reach from the lowest to the highest round. They show the "
        "part that was trained on and, dashed, the part put aside with --validation; never the test part."
    )
    return Section("Training", (told, Columns(tuple((figure.title, (figure,)) for figure in drawn))))


def _figure(heads: list[Shown], quantity: str, title: str) -> Figure | None:
    lines = [
        (head, side, dash, values)
        for head in heads
        for prefix, side, dash in _SIDES
        if (values := _history(head, prefix + quantity)) is not None
    ]
    if not lines:
        return None
    labels = [f"{head.label}, {side}" for head, side, _, _ in lines]
    figure = chart(340, legend=labels)
    for head, side, dash, values in lines:
        for trace in _traces(head, dash, values, f"{head.text}, {side}"):
            figure.add_trace(trace)
    longest = max(values.shape[1] for *_, values in lines)
    figure.update_xaxes(**axis("epoch", range=[0, 1.03 * longest]))
    figure.update_yaxes(**axis(title, rangemode="tozero" if quantity == "loss" else "normal"))
    said = [
        f"{label}: from {values[:, 0].mean():.3f} after the first epoch to {values[:, -1].mean():.3f} after "
        f"{values.shape[1]}, mean of {len(values)} rounds."
        for (_, _, _, values), label in zip(lines, labels, strict=True)
    ]
    return Figure(f"training-{quantity}", quantity.capitalize(), " ".join(said), figure)


def _history(head: Shown, name: str) -> NDArray[np.float64] | None:
    """Return a quantity by round and epoch; None if there is none, as an estimator of the user's own may do."""
    histories = head.document["history"].get(head.head, [])
    found = [history[name] for history in histories if history and history.get(name)]
    if not found:
        return None
    epochs = min(map(len, found))
    return np.array([line[:epochs] for line in found], dtype=np.float64)


def _traces(head: Shown, dash: str, values: NDArray[np.float64], text: str) -> list[dict[str, Any]]:
    step = -(-values.shape[1] // _MOST)
    taken = np.arange(values.shape[1] - 1, -1, -step)[::-1]
    x, mean = (taken + 1).tolist(), rounded(values.mean(axis=0)[taken])
    low, high = rounded(values.min(axis=0)[taken]), rounded(values.max(axis=0)[taken])
    common = {"type": "scatter", "legendgroup": text}
    band = {
        **common,
        "x": [*x, *x[::-1]],
        "y": [*high, *low[::-1]],
        "fill": "toself",
        "fillcolor": see_through(head.style.colour, 0.15),
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "showlegend": False,
    }
    line = {
        **common,
        "x": x,
        "y": mean,
        "customdata": list(zip(low, high, strict=True)),
        "mode": "lines+markers",
        "name": text,
        "line": {"color": head.style.colour, "dash": dash, "width": 2},
        "marker": {"color": head.style.colour, "symbol": head.style.symbol, "size": 7, "maxdisplayed": 8},
        "hovertemplate": (
            f"{text}<br>epoch %{{x}}: %{{y:.4f}}, rounds from %{{customdata[0]:.4f}} to "
            "%{customdata[1]:.4f}<extra></extra>"
        ),
    }
    return [band, line] if len(values) > 1 else [line]
