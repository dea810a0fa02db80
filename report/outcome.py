"""The results of runs as a section: heads side by side, each round as a dot, every number in tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..classify.comparison import spoken
from ..classify.measures import PER_CLASS
from ..classify.metrics import AIMS, LOWER_IS_BETTER
from .charts import (
    GREY,
    Shown,
    axis,
    chart,
    interval_bar,
    names_axis,
    of_units,
    plain,
    rounded,
    see_through,
    shown,
)
from .judged import Judged
from .numbers import mean_and_std, mean_std_and_interval, mean_with_interval, number_text
from .parts import Cell, Figure, Folded, Part, Section, Table, Words
from .results import (
    CALIBRATION,
    HEADINGS,
    WITH_INTERVAL,
    about,
    spread_sentences,
    stopped_sentences,
    tuned_sentences,
    undefined_sentences,
    units_sentences,
)
from .verdicts import alarms

_OF_POSITIVE = ("sensitivity", "specificity", "f1")
"""What else is quoted where there is a positive class."""
_DRAWN = ("balanced_accuracy", "accuracy", "roc_auc", "sensitivity", "specificity")
"""The panels of the dots; the metric that heads are compared by comes first."""
_MOST_ROUNDS = 200
"""A longer run's rounds are left out of the tables, and in its folder."""
_JITTER = (0.0, 0.16, -0.16, 0.08, -0.08, 0.24, -0.24)


def results(runs: Sequence[Judged]) -> Section:
    """Return the results of one run or of several side by side: by image, and by patient where asked for."""
    heads = shown(runs)
    parts = [part for run in runs for part in _warnings(run, len(runs) > 1)]
    if not heads:
        return Section("Results", (*parts, Words("No head has all its rounds yet, so there are no results.")))
    parts += _of(heads, "")
    for noun, judged in of_units(heads).items():
        lines = dict.fromkeys(line for each in judged for line in units_sentences(each.document["by"]))
        told = Words("\n\n".join(lines))
        parts.append(Folded(f"By unit: {noun}", (told, *_of(judged, f"-{number_of(noun)}")), opened=True))
    if remarks := [line for run in runs for line in _remarks(run, len(runs) > 1)]:
        parts.append(Words("\n\n".join(remarks), "note"))
    return Section("Results", tuple(parts))


def number_of(noun: str) -> str:
    """Return what figures by unit have in their names."""
    return "patients" if noun == "patients" else "units"


def _warnings(run: Judged, several: bool) -> list[Part]:
    before = f"{run.name}: " if several else ""
    leaks = [note for note in run.document["notes"] if note.startswith("LEAK")]
    sounded = alarms(run)
    if len(sounded) > 1:
        sounded = [f"{sounded[0]}\n\nFurther alarms: {len(sounded) - 1}, under Controls."]
    return [
        *(Words(before + text, "alarm") for text in [*leaks, *sounded]),
        *(Words(before + text, "note") for text in stopped_sentences(run.document)),
    ]


def _remarks(run: Judged, several: bool) -> list[str]:
    document = run.document
    notes = [note for note in document["notes"] if not note.startswith("LEAK")]
    left = [f"{count} samples left out: {reason}." for reason, count in document["left_out"].items()]
    lines = [*notes, *left, *tuned_sentences(document), *spread_sentences(document)]
    return [f"{run.name}: {line}" for line in lines] if several else lines


def _of(heads: list[Shown], suffix: str) -> list[Part]:
    quoted = [WITH_INTERVAL]
    if any(head.document["positive"] is not None for head in heads):
        quoted.append(_OF_POSITIVE)
    several = len({head.run.name for head in heads}) > 1
    intervals = dict.fromkeys(
        f"{head.run.name}: {head.document['interval']}" if several else head.document["interval"]
        for head in heads
        if head.document["interval"]
    )
    return [
        *(_summary(heads, metrics) for metrics in quoted),
        Words("\n\n".join(dict.fromkeys([*(_whose(head) for head in heads), *intervals]))),
        rounds_figure(heads, suffix),
        Folded("All metrics", (_all_metrics(heads),)),
        Folded("Each class against the rest", (_per_class(heads),)),
        *(Folded(f"Rounds of {head.label}", tuple(_rounds(head))) for head in heads),
    ]


def _whose(head: Shown) -> str:
    sentence = about(head.document)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _summary(heads: list[Shown], metrics: Sequence[str]) -> Table:
    caption = f"Mean ± standard deviation over the rounds, and 95 % interval of the mean ({heads[0].noun})"
    rows: list[tuple[str | Cell, ...]] = [
        (head.label, *(_cell(entry) for entry in head.entries(metrics))) for head in heads
    ]
    return Table(caption, ("head", *(HEADINGS[name] for name in metrics)), tuple(rows))


def _cell(entry: dict[str, Any]) -> Cell:
    return Cell(mean_std_and_interval(entry), entry["mean"])


def _all_metrics(heads: list[Shown]) -> Table:
    names = [
        name
        for name in {**HEADINGS, **CALIBRATION}
        if any(head.metrics[name]["mean"] is not None for head in heads)
    ]
    rows: list[tuple[str | Cell, ...]] = [
        (head.label, *(Cell(mean_and_std(entry), entry["mean"]) for entry in head.entries(names)))
        for head in heads
    ]
    headings = {**HEADINGS, **CALIBRATION}
    caption = "Mean ± standard deviation over the rounds"
    return Table(caption, ("head", *(headings[name] for name in names)), tuple(rows))


def _per_class(heads: list[Shown]) -> Table:
    rows: list[tuple[str | Cell, ...]] = []
    for head in heads:
        for label, entries in head.document["per_class"][head.head].items():
            support = entries["support"]["mean"]
            cells = [Cell(mean_and_std(entries[name]), entries[name]["mean"]) for name in PER_CLASS]
            rows.append((head.label, label, Cell(f"{support:g}", support), *cells))
    headings = ("head", "class", f"{heads[0].noun} a round", *(HEADINGS[name] for name in PER_CLASS))
    return Table(
        "Each class against the rest: mean ± standard deviation over the rounds", headings, tuple(rows)
    )


def _rounds(head: Shown) -> list[Part]:
    """Return one head's rounds as the TRV paper shows them, and why there are dashes."""
    metrics, names = head.metrics, head.document["round_names"]
    rows: list[tuple[str | Cell, ...]] = [
        (Cell(name, number), *(_number(metrics[metric]["rounds"][number]) for metric in HEADINGS))
        for number, name in enumerate(names[:_MOST_ROUNDS])
    ]
    foot = [
        (label, *(number_text(metrics[metric][key]) for metric in HEADINGS))
        for label, key in (
            ("average", "mean"),
            ("95 % from", "low"),
            ("to", "high"),
            ("worst", "worst"),
            ("better", "best"),
        )
    ]
    parts: list[Part] = [
        Table(f"Rounds of {head.label} ({head.noun})", ("round", *HEADINGS.values()), tuple(rows), tuple(foot))
    ]
    said = undefined_sentences(metrics)
    if len(names) > _MOST_ROUNDS:
        said.append(f"The first {_MOST_ROUNDS} of {len(names)} rounds; the others are in the run's folder.")
    return [*parts, Words("\n\n".join(said), "note")] if said else parts


def _number(value: float | None) -> Cell:
    return Cell(number_text(value), value)


def rounds_figure(heads: list[Shown], suffix: str = "") -> Figure:
    """Return each round as a dot: a panel for each metric, a line for each head with its mean and interval."""
    primary = heads[0].document["comparison"]["metric"]
    metrics = [name for name in dict.fromkeys((primary, *_DRAWN)) if _defined(heads, name)]
    if all(head.document["positive"] is None for head in heads):
        metrics = [name for name in metrics if name != "sensitivity"]  # averaged, it is the balanced accuracy
    figure = chart(
        sum(_height(heads) for _ in metrics) or 80,
        rows=max(1, len(metrics)),
        vertical_spacing=min(0.3, 62 / (_height(heads) * max(1, len(metrics)))),
    )
    panels = {"row": 0, "col": 1} if len(metrics) > 1 else {}
    for number, metric in enumerate(metrics):
        panels.update({"row": number + 1} if panels else {})
        for place, head in enumerate(heads):
            for trace in _dots(head, metric, place):
                figure.add_trace(trace, **panels)
        figure.update_xaxes(**axis(_titled(metric), nticks=6, tickangle=0), **panels)
        figure.update_yaxes(**names_axis([head.text for head in heads]), **panels)
    return Figure(
        f"rounds{suffix}",
        f"Each round ({heads[0].noun})",
        " ".join([_alt(head, primary) for head in heads]),
        figure,
        "A small mark is a round; the large diamond is the mean, its bar the 95 % interval. The worst and the "
        f"best round are named for {spoken(primary)}; every round is in the tables.",
    )


def _height(heads: list[Shown]) -> int:
    return 30 * len(heads) + 75


def _defined(heads: list[Shown], metric: str) -> bool:
    return any(head.metrics[metric]["mean"] is not None for head in heads)


def _titled(metric: str) -> str:
    name = spoken(metric)
    if metric in AIMS:
        return f"{name} (best at {AIMS[metric]:g})"
    return f"{name} (lower is better)" if metric in LOWER_IS_BETTER else name


def _dots(head: Shown, metric: str, place: int) -> list[dict[str, Any]]:
    """Return the rounds of a head, and their mean with its interval, as traces."""
    entry, names = head.metrics[metric], head.document["round_names"]
    if entry["mean"] is None:
        return []
    rounds = entry["rounds"]
    said = {rounds.index(entry["worst"]): "worst", rounds.index(entry["best"]): "best"}
    primary = metric == head.document["comparison"]["metric"] and len(said) == 2
    style, label = head.style, head.text
    texts = [plain(f"{name} ({said[number]})" if number in said else name) for number, name in enumerate(names)]
    dots = {
        "type": "scatter",
        "mode": "markers+text" if primary else "markers",
        "x": rounded(rounds),
        "y": [round(place + _JITTER[number % len(_JITTER)], 2) for number in range(len(rounds))],
        "text": [plain(names[number]) if number in said else "" for number in range(len(rounds))],
        "textposition": "top center",
        "textfont": {"size": 10},
        "customdata": texts,
        "marker": {"color": see_through(style.colour, 0.6), "symbol": style.symbol, "size": 7},
        "hovertemplate": f"{label}<br>round %{{customdata}}: %{{x:.4f}}<extra></extra>",
        "cliponaxis": False,
        "showlegend": False,
    }
    mean = {
        "type": "scatter",
        "mode": "markers",
        "x": rounded([entry["mean"]]),
        "y": [place + 0.36],
        "marker": {
            "color": style.colour,
            "symbol": "diamond",
            "size": 10,
            "line": {"color": GREY, "width": 1},
        },
        "hovertemplate": f"{label}<br>mean {mean_with_interval(entry)}<extra></extra>",
        "cliponaxis": False,
        "showlegend": False,
        **interval_bar(entry["mean"], entry["low"], entry["high"], style.colour),
    }
    return [dots, mean]


def _alt(head: Shown, metric: str) -> str:
    entry, names = head.metrics[metric], head.document["round_names"]
    if entry["mean"] is None:
        return f"{head.label}: {spoken(metric)} is undefined."
    rounds = entry["rounds"]
    sentence = f"{head.label}: mean {spoken(metric)} {mean_with_interval(entry)}"
    if entry["worst"] == entry["best"]:
        return f"{sentence}."
    worst, best = (
        f"{names[rounds.index(entry[key])]} ({number_text(entry[key])})" for key in ("worst", "best")
    )
    return f"{sentence}; worst round {worst}, best round {best}."
