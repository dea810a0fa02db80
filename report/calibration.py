"""Calibration curves as a section: how often a head is right that says 80 %."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..classify.metrics import ECE_PATIENTS
from .charts import GREY, Shown, axis, chart, plain, rounded, shown
from .curves import considered
from .judged import Judged
from .numbers import UNKNOWN, mean_std_and_interval
from .parts import Cell, Figure, Folded, Part, Section, Table, Words
from .results import CALIBRATION

Floats = NDArray[np.float64]

_BINS = 10


class Bin(NamedTuple):
    """Judgements of nearly the same probability.

    Parameters
    ----------
    lowest, highest : float
        The probabilities in it.
    said, found : float
        Their mean, and the share of the judgements that were of the class.
    judgements : int
    """

    lowest: float
    highest: float
    said: float
    found: float
    judgements: int


def has_probabilities(head: Shown) -> bool:
    return any(record.judgement.values["loss"] is not None for record in head.records)


def bins(p: Floats, is_class: NDArray[np.bool_]) -> list[Bin]:
    """Return ten bins of about equally many judgements; equal probabilities share one, so they can be fewer.

    They are drawn as in `classify.measures.calibration_error`.

    Parameters
    ----------
    p : ndarray of float, shape (n,)
        The probability of the class in each judgement.
    is_class : ndarray of bool, shape (n,)
    """
    _, number, counts = np.unique(p, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2)[number]
    of_bin = np.floor(middle * _BINS / len(p)).astype(int)
    found = []
    for place in np.unique(of_bin):
        inside = of_bin == place
        said = p[inside]
        found.append(
            Bin(
                float(said.min()),
                float(said.max()),
                float(said.mean()),
                float(is_class[inside].mean()),
                int(inside.sum()),
            )
        )
    return found


def calibration(runs: Sequence[Judged]) -> Section | None:
    """Return the calibration of the heads that give probabilities, and which do not; None without a head."""
    heads = shown(runs)
    if not heads:
        return None
    having = [head for head in heads if has_probabilities(head)]
    parts: list[Part] = []
    if without := [head.label for head in heads if head not in having]:
        parts.append(
            Words(f"Scores that are no probabilities have no calibration: {', '.join(without)}.", "note")
        )
    if having:
        parts = [_numbers(having), *_about_ece(having), *_curves(having), *parts]
    return Section("Calibration", tuple(parts))


def _numbers(heads: list[Shown]) -> Table:
    names = {"brier": "Brier", **CALIBRATION}
    rows: list[tuple[str | Cell, ...]] = [
        (head.label, *(Cell(mean_std_and_interval(entry), entry["mean"]) for entry in head.entries(names)))
        for head in heads
    ]
    caption = (
        "Calibrated probabilities have a slope of 1 and an intercept of 0; a slope under 1 is overconfidence. "
        "Mean ± standard deviation over the rounds, and 95 % interval of the mean"
    )
    return Table(caption, ("head", *names.values()), tuple(rows))


def _about_ece(heads: list[Shown]) -> list[Words]:
    if all(head.metrics["ece"]["mean"] is not None for head in heads):
        return []
    text = (
        f"The expected calibration error (ECE) needs {ECE_PATIENTS} tested patients in a round: with fewer it "
        f"is mostly noise, and always upwards. Where it is missing there is a dash ({UNKNOWN})."
    )
    return [Words(text, "note")]


def _curves(heads: list[Shown]) -> list[Part]:
    classes = list(dict.fromkeys(name for head in heads for name in considered(head)))
    parts = [_of_class(heads, name, f"-{number + 1}") for number, name in enumerate(classes)]
    if len(classes) == 1:
        return list(parts[0])
    return [
        Folded(f"Probability of {name}", part, opened=number == 0)
        for number, (name, part) in enumerate(zip(classes, parts, strict=True))
    ]


def _of_class(heads: list[Shown], name: str, suffix: str) -> tuple[Part, ...]:
    drawn = [(head, _bins_of(head, name)) for head in heads if name in head.document["classes"]]
    figure = chart(400, legend=[head.text for head, _ in drawn])
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": GREY, "dash": "dot", "width": 1},
        hovertemplate="calibrated<extra></extra>",
        showlegend=False,
    )
    for head, found in drawn:
        figure.add_scatter(**_line(head, found))
    figure.update_xaxes(**axis(f"probability of {plain(name)}", range=[-0.03, 1.03]))
    figure.update_yaxes(**axis(f"share that is {plain(name)}", range=[-0.03, 1.03]))
    first, found = drawn[0]
    judgements = f"{sum(each.judgements for each in found)} of {first.document['tested']['rows']} images"
    caption = (
        f"Each mark is about a tenth of all judgements of all rounds ({judgements} for {first.label}; an image "
        "that is tested in several rounds counts in each). On the dotted line probabilities are what they say; "
        "below it they are too high."
    )
    picture = Figure(
        f"calibration{suffix}",
        f"Calibration: {name}",
        " ".join(_said(head, found) for head, found in drawn),
        figure,
        caption,
    )
    return picture, Folded("As a table", (_table(drawn, name),))


def _bins_of(head: Shown, name: str) -> list[Bin]:
    index = head.document["classes"].index(name)
    labels = head.run.stored.label
    judged = [record for record in head.records if record.judgement.values["loss"] is not None]
    p = np.concatenate([np.asarray(record.scores[:, index], dtype=np.float64) for record in judged])
    return bins(p, np.concatenate([labels[record.rows] == name for record in judged]))


def _line(head: Shown, found: list[Bin]) -> dict[str, Any]:
    style = head.style
    return {
        "x": rounded([each.said for each in found]),
        "y": rounded([each.found for each in found]),
        "customdata": [[round(each.lowest, 3), round(each.highest, 3), each.judgements] for each in found],
        "mode": "lines+markers",
        "name": head.text,
        "line": {"color": style.colour, "dash": style.dash, "width": 2},
        "marker": {"color": style.colour, "symbol": style.symbol, "size": 8},
        "hovertemplate": (
            f"{head.text}<br>says %{{x:.3f}} (%{{customdata[0]:.3f}} to %{{customdata[1]:.3f}})"
            "<br>is so in %{y:.3f} of %{customdata[2]} judgements<extra></extra>"
        ),
    }


def _said(head: Shown, found: list[Bin]) -> str:
    first, last = found[0], found[-1]
    if first is last:
        return f"{head.label} says {first.said:.2f} of everything, and {first.found:.2f} are of the class."
    return (
        f"{head.label}: where it says {first.said:.2f} on average, {first.found:.2f} are of the class; where "
        f"it says {last.said:.2f}, {last.found:.2f}."
    )


def _table(drawn: list[tuple[Shown, list[Bin]]], name: str) -> Table:
    rows = [
        (
            head.label,
            Cell(f"{each.lowest:.3f} to {each.highest:.3f}", each.lowest),
            Cell(f"{each.said:.3f}", each.said),
            Cell(f"{each.found:.3f}", each.found),
            Cell(str(each.judgements), each.judgements),
        )
        for head, found in drawn
        for each in found
    ]
    headings = ("head", "probability", "on average", f"share of {name}", "judgements")
    return Table(f"Probability of {name}, and how often that was right", headings, tuple(rows))
