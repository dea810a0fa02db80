"""ROC and precision-recall curves as a section: a thin line for each round, a thick one for their mean.

Scores of different rounds are never put into one curve: they come from different fits, and need not mean the
same. Curves of rounds are averaged in place of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..classify.runs import Record
from .charts import GREY, Shown, axis, chart, plain, rounded, see_through, shown
from .judged import Judged
from .numbers import number_text
from .parts import Columns, Figure, Folded, Part, Section, Words

Floats = NDArray[np.float64]

GRID = np.linspace(0.0, 1.0, 101)
"""Where curves are averaged."""
_TINY = 1e-9
"""Shares that differ by less are the same but for rounding."""
_MOST_POINTS = 200
"""Of one line."""
_POINTS = 9_000
"""Of all rounds' lines of a kind, so that a page stays small; with fewer than `_FEWEST` each, none is drawn."""
_FEWEST = 15

Curve = tuple[Floats, Floats]
"""x and y of its corners, x rising."""


class Averaged(NamedTuple):
    """The curves of one head for one class.

    Parameters
    ----------
    rounds : list of Curve
        Of the rounds in which there is a curve.
    mean, lowest, highest : ndarray of float, shape (101,)
        Over those rounds, at each place of `GRID`.
    """

    rounds: list[Curve]
    mean: Floats
    lowest: Floats
    highest: Floats


def roc(is_class: NDArray[np.bool_], scores: Floats) -> Curve:
    """Return false and true positive rates of one round, from (0, 0) to (1, 1); ties make sloping lines."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(is_class, scores)
    return false, true


def precision_recall(is_class: NDArray[np.bool_], scores: Floats) -> Curve:
    """Return recall and precision of one round, the precision at 0 being the first one reached.

    Between two corners the later one's precision holds: precisions must not be joined by straight lines
    (J. Davis and M. Goadrich, The relationship between precision-recall and ROC curves, ICML (2006), section
    3), and the area under such steps is the average precision.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(is_class, scores, drop_intermediate=True)
    whole = len(recall) - int(np.argmin(recall == 1.0))  # what comes after a recall of 1 adds nothing to it
    rising, reached = recall[::-1][1 : whole + 1], precision[::-1][1 : whole + 1]
    return np.concatenate([[0.0], rising]), np.concatenate([reached[:1], reached])


def averaged(
    run: Judged, records: Sequence[Record], index: int, curve: Callable[..., Curve], *, steps: bool
) -> Averaged | None:
    """Return the curves of a head's rounds for a class, and their vertical average; None if no round has one.

    T. Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27 (2006), section 8.

    Parameters
    ----------
    run : Judged
    records : sequence of Record
    index : int
        The class, against the rest.
    curve : callable
        `roc` or `precision_recall`.
    steps : bool
        Whether a corner's height holds up to it, in place of straight lines.
    """
    name = run.document["classes"][index]
    curves = []
    for record in records:
        is_class = run.stored.label[record.rows] == name
        if is_class.any() and not is_class.all():
            curves.append(curve(is_class, np.asarray(record.scores[:, index], dtype=np.float64)))
    if not curves:
        return None
    heights = np.stack([(_step_at if steps else _line_at)(x, y) for x, y in curves])
    return Averaged(curves, heights.mean(axis=0), heights.min(axis=0), heights.max(axis=0))


def _line_at(x: Floats, y: Floats) -> Floats:
    """Return the height of straight lines at each place of the grid; where they rise upright, the upper end."""
    before = np.searchsorted(x, GRID + _TINY, side="right") - 1
    after = np.minimum(before + 1, len(x) - 1)
    width = x[after] - x[before]
    along = np.divide(GRID - x[before], width, out=np.zeros_like(width), where=width > 0)
    return np.asarray(y[before] + along.clip(0, 1) * (y[after] - y[before]))


def _step_at(x: Floats, y: Floats) -> Floats:
    return np.asarray(y[np.minimum(np.searchsorted(x, GRID - _TINY), len(x) - 1)])


def curves(runs: Sequence[Judged]) -> Section | None:
    """Return the ROC and precision-recall curves: of two classes the positive one's, else those of each.

    None if no head has all its rounds.
    """
    heads = shown(runs)
    if not heads:
        return None
    classes = list(dict.fromkeys(name for head in heads for name in considered(head)))
    lines = sum(len(head.records) for head in heads) * len(classes)
    points = min(_MOST_POINTS, _POINTS // lines)
    pairs = {name: _pair(heads, name, f"-{number + 1}", points) for number, name in enumerate(classes)}
    parts: list[Part] = [Words(_explained(points))]
    if len(classes) == 1:
        parts += pairs[classes[0]]
    else:
        parts += [
            Folded(f"{name} against the rest", pair, opened=number == 0)
            for number, (name, pair) in enumerate(pairs.items())
        ]
    return Section("ROC and precision-recall curves", tuple(parts))


def considered(head: Shown) -> list[str]:
    """Return the classes that a head is judged by: the positive one of two, else each of them."""
    positive = head.document["positive"]
    return list(head.document["classes"]) if positive is None else [positive]


def _explained(points: int) -> str:
    thin = "Thin lines are rounds, thick ones" if points >= _FEWEST else "Lines are"
    return (
        f"{thin} the mean of the rounds at each place: scores of different rounds are never put into one "
        "curve. The ROC curve does not depend on how frequent the class is; the precision-recall curve does."
    )


def _pair(heads: list[Shown], name: str, suffix: str, points: int) -> tuple[Part, ...]:
    having = [head for head in heads if name in head.document["classes"]]
    of = {head.number: head.document["classes"].index(name) for head in having}
    found = {
        kind: [(head, averaged(head.run, head.records, of[head.number], curve, steps=steps)) for head in having]
        for kind, curve, steps in (("roc", roc, False), ("pr_auc", precision_recall, True))
    }
    drawn = {kind: [(head, lines) for head, lines in each if lines is not None] for kind, each in found.items()}
    missing = [head.label for head, lines in found["roc"] if lines is None]
    parts: list[Part] = []
    if drawn["roc"]:
        receiver = _figure(f"roc{suffix}", f"ROC curve: {name}", drawn["roc"], name, points, steps=False)
        recall = _figure(
            f"precision-recall{suffix}",
            f"Precision and recall: {name}",
            drawn["pr_auc"],
            name,
            points,
            steps=True,
        )
        parts.append(Columns((("ROC", (receiver,)), ("Precision and recall", (recall,)))))
    if missing:
        reason = f"{name} is alone or absent in every test part"
        parts.append(Words(f"No curves of {', '.join(missing)}: {reason}.", "note"))
    return tuple(parts)


def _figure(
    name: str, title: str, drawn: list[tuple[Shown, Averaged]], of: str, points: int, *, steps: bool
) -> Figure:
    metric = "pr_auc" if steps else "roc_auc"
    said = [_said(head, lines, of, metric) for head, lines in drawn]
    figure = chart(400, legend=[head.text for head, _ in drawn])
    share = _prevalence(drawn[0][0], of)
    level = [share, share] if steps else [0, 1]
    meaning = f"chance: {share:.1%} are {plain(of)}" if steps else "chance"
    figure.add_scatter(
        x=[0, 1],
        y=rounded(level),
        mode="lines",
        line={"color": GREY, "dash": "dot", "width": 1},
        hovertemplate=f"{meaning}<extra></extra>",
        showlegend=False,
    )
    for head, lines in drawn:
        if points >= _FEWEST:
            figure.add_scatter(**_thin(head, lines, points, steps))
        figure.add_scatter(**_thick(head, lines, steps))
    figure.update_xaxes(**axis("recall (sensitivity)" if steps else "1 − specificity", range=[-0.01, 1.01]))
    figure.update_yaxes(**axis("precision" if steps else "sensitivity", range=[-0.01, 1.02]))
    return Figure(name, title, " ".join(said), figure, _caption(drawn, of, share, steps))


def _said(head: Shown, lines: Averaged, name: str, metric: str) -> str:
    entry = head.document["per_class"][head.head][name][metric]
    what = "average precision" if metric == "pr_auc" else "area under the curve"
    at = 50 if metric == "pr_auc" else 10
    where = "a recall" if metric == "pr_auc" else "1 − specificity"
    return (
        f"{head.label}: mean {what} {number_text(entry['mean'])} over {len(lines.rounds)} rounds, from "
        f"{number_text(entry['worst'])} to {number_text(entry['best'])}; at {where} of {GRID[at]:.1f} the mean "
        f"curve stands at {lines.mean[at]:.2f}."
    )


def _caption(drawn: list[tuple[Shown, Averaged]], name: str, share: float, steps: bool) -> str:
    some = [(head, len(lines.rounds)) for head, lines in drawn if len(lines.rounds) < len(head.records)]
    left = [f"{head.label}: {count} of {len(head.records)} rounds have a curve." for head, count in some]
    first = (
        f"The dotted line is the share of {name} among what is tested ({share:.1%}): what chance reaches."
        if steps
        else "The dotted line is chance."
    )
    return " ".join([first, *left])


def _prevalence(head: Shown, name: str) -> float:
    """Return the mean share of a class over the rounds' test parts."""
    labels = head.run.stored.label
    return float(np.mean([np.mean(labels[record.rows] == name) for record in head.records]))


def _thin(head: Shown, lines: Averaged, points: int, steps: bool) -> dict[str, Any]:
    """Return the rounds of a head as one trace, lifted pen between them."""
    x: list[float | None] = []
    y: list[float | None] = []
    for of_x, of_y in lines.rounds:
        taken = np.unique(np.linspace(0, len(of_x) - 1, min(points, len(of_x))).round().astype(int))
        x += [*rounded(of_x[taken], 3), None]
        y += [*rounded(of_y[taken], 3), None]
    return {
        "x": x[:-1],
        "y": y[:-1],
        "mode": "lines",
        "line": {
            "color": see_through(head.style.colour, 0.3),
            "width": 1,
            **({"shape": "vh"} if steps else {}),
        },
        "hoverinfo": "skip",
        "legendgroup": str(head.number),
        "showlegend": False,
    }


def _thick(head: Shown, lines: Averaged, steps: bool) -> dict[str, Any]:
    x, y = GRID, lines.mean
    low, high = lines.lowest, lines.highest
    if not steps:  # it starts at the corner, and rises upright to what is reached without a false alarm
        x, y, low, high = (np.concatenate([[0.0], values]) for values in (x, y, low, high))
    names = ("recall", "precision") if steps else ("1 − specificity", "sensitivity")
    return {
        "x": rounded(x, 2),
        "y": rounded(y),
        "customdata": list(zip(rounded(low, 3), rounded(high, 3), strict=True)),
        "mode": "lines",
        "name": head.text,
        "line": {"color": head.style.colour, "dash": head.style.dash, "width": 2.5},
        "hovertemplate": (
            f"{head.text}<br>{names[0]} %{{x:.2f}}<br>{names[1]} %{{y:.3f}}, rounds from "
            "%{customdata[0]:.3f} to %{customdata[1]:.3f}<extra></extra>"
        ),
        "legendgroup": str(head.number),
    }
