"""What a cache holds, as a section: classes, patients, columns, recipe, how it was written, what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache.association import cramers_v
from ..cache.samples import Samples
from ..cache.store import Cache
from .charts import axis, chart, distinct, names_axis, plain
from .colours import style
from .parts import Cell, Columns, Figure, Folded, Part, Section, Table, Words
from .tables import counted, plain_text, size_text

_MOST_LEVELS = 12
"""A column of more values than these is no kind of origin to be drawn."""
_MOST_COLUMNS = 12
_MOST_CLASSES = 20
_MOST_ROWS = 200
"""Failures and commits in a table; `icehouse cache info --json` has all."""
_MOST_SIZES = 20
_MANY = 10
"""Patients of so many images or more are counted together."""
_UNLABELLED = "(no label)"
_BLANK = "(blank)"


def contents(info: dict[str, Any], cache: Cache | None = None, number: int | None = None) -> Section:
    """Return what `icehouse cache info` says, with pictures.

    Parameters
    ----------
    info : dict
        As `cache.info.describe` returns it.
    cache : Cache, optional
        Opened: for what is counted by class, by patient and by column.
    number : int, optional
        Which of several caches of the page it is.
    """
    suffix = "" if number is None else f"-{number}"
    samples = None if cache is None else cache.samples
    parts: list[Part] = [Words(_sentences(info))]
    if not info["complete"]:
        parts.append(Words("This cache is not complete: some samples are pending.", "alarm"))
    if info["labels"]:
        parts.append(_classes(info["labels"], samples, suffix))
    if samples is not None:
        parts += _of_samples(samples, suffix)
    kinds = [("kind of file", info["kinds"]), ("state", info["states"]), ("split", info["splits"])]
    parts += [_counts(f"Samples by {what}", what, counts) for what, counts in kinds if counts]
    parts += [
        Folded("Recipe", (_recipe(info),)),
        Folded("How it was written", (_provenance(info["provenance"]),)),
    ]
    if info["failures"]:
        parts.append(Folded(f"Failures ({len(info['failures'])})", (_failures(info["failures"]),), opened=True))
    return Section("Cache" if number is None else f"Cache {number}", tuple(parts))


def _sentences(info: dict[str, Any]) -> str:
    layers = ", ".join(f"{layer} of {size} numbers" for layer, size in info["dimensions"].items())
    spare = f" ({info['spare']} of no sample)" if info["spare"] else ""
    lines = [
        f"{info['cache']}: {size_text(info['bytes'])}, made by {info['created_by']}.",
        f"{counted(info['samples'], 'sample')} of {counted(info['frames'], 'frame')}; "
        f"{counted(info['rows'], 'vector')}{spare}: {layers}.",
        f"{counted(info['patients'], 'patient')}." if info["patients"] else "Patients are not known.",
    ]
    if info["anonymized"]:
        lines.append("It is anonymized: paths, patients and contents are pseudonyms.")
    return "\n\n".join(lines)


def _labels(samples: Samples) -> NDArray[np.str_]:
    return np.where(samples.label == "", _UNLABELLED, samples.label)


def _classes(labels: dict[str, int], samples: Samples | None, suffix: str) -> Figure:
    """Return samples, and patients where they are known, of each class."""
    bars = {"samples": labels}
    if samples is not None and np.any(samples.patient != ""):
        known = (samples.patient != "") & (samples.label != "")
        pairs = set(zip(samples.label[known].tolist(), samples.patient[known].tolist(), strict=True))
        patients = Counter(label for label, _ in pairs)
        bars["patients"] = {label: patients[label] for label in labels}
    names = sorted(labels, key=lambda label: -labels[label])[:_MOST_CLASSES]
    figure = chart(90 + 40 * len(names), legend=list(bars) if len(bars) > 1 else ())
    for number, (what, counts) in enumerate(bars.items()):
        figure.add_bar(
            x=[counts[name] for name in names],
            y=list(range(len(names))),
            orientation="h",
            name=what,
            marker={"color": style(number).colour},
            text=[f"{counts[name]:,}" for name in names],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"%{{x:,}} {what}<extra></extra>",
        )
    figure.update_layout(barmode="group", bargap=0.25)
    most = max(labels[name] for name in names)
    figure.update_xaxes(**axis(" and ".join(bars), range=[0, 1.15 * most]))
    figure.update_yaxes(**names_axis(distinct(names)))
    said = [
        f"{name}: " + ", ".join(f"{counts[name]:,} {what}" for what, counts in bars.items()) + "."
        for name in names
    ]
    caption = f"The {len(names)} largest of {len(labels)} classes." if len(names) < len(labels) else ""
    return Figure(f"cache{suffix}-classes", "Classes", " ".join(said), figure, caption)


def _of_samples(samples: Samples, suffix: str) -> list[Part]:
    parts: list[Part] = []
    labels = _labels(samples)
    if np.any(samples.split != ""):
        split = np.where(samples.split == "", _BLANK, samples.split)
        parts.append(_cross_table("Samples by class and split", "split", split, labels))
    if np.any(samples.patient != ""):
        parts.append(_patients(samples.patient[samples.patient != ""], suffix))
    columns = {**samples.columns, "format": samples.format, "colour mode": samples.mode}
    taken = {
        name: np.where(values == "", _BLANK, values)
        for name, values in columns.items()
        if 1 < len(np.unique(values)) <= _MOST_LEVELS
    }
    if len(np.unique(labels)) > 1 and taken:
        drawn = [
            _column(name, values, labels, f"cache{suffix}-column-{number + 1}")
            for number, (name, values) in enumerate(list(taken.items())[:_MOST_COLUMNS])
        ]
        parts += [
            Columns(tuple((f"{name} by class", figure) for name, figure in drawn[start : start + 2]))
            for start in range(0, len(drawn), 2)
        ]
        tables = [
            _cross_table(f"Samples by {name} and class", name, values, labels) for name, values in taken.items()
        ]
        parts.append(Folded("Columns and classes as tables", tuple(tables)))
    parts.append(_sizes(samples))
    return parts


def _patients(patient: NDArray[np.str_], suffix: str) -> Figure:
    """Return how many patients have how many images."""
    _, each = np.unique(patient, return_counts=True)
    counts = Counter(np.minimum(each, _MANY).tolist())
    numbers = list(range(1, max(counts) + 1))
    names = [f"{number}+" if number == _MANY else str(number) for number in numbers]
    figure = chart(280)
    figure.add_bar(
        x=numbers,
        y=[counts[number] for number in numbers],
        marker={"color": style(0).colour},
        hovertemplate="%{y:,} patients<extra></extra>",
    )
    figure.update_xaxes(**axis("images of a patient", tickvals=numbers, ticktext=names, showgrid=False))
    figure.update_yaxes(**axis("patients", rangemode="tozero"))
    alt = (
        f"{len(each):,} patients: {counts[1]:,} have one image; the median is {np.median(each):g} and the most "
        f"{each.max():,}."
    )
    return Figure(f"cache{suffix}-patients", "Images per patient", alt, figure)


def _column(
    column: str, values: NDArray[np.str_], labels: NDArray[np.str_], name: str
) -> tuple[str, tuple[Part, ...]]:
    """Return how the values of a column are spread over the classes."""
    levels, classes = _ranked(values), _ranked(labels)[:_MOST_CLASSES]
    counts = Counter(zip(labels.tolist(), values.tolist(), strict=True))
    figure = chart(90 + 40 * len(classes), legend=levels)
    for number, level in enumerate(levels):
        totals = [sum(counts[label, other] for other in levels) for label in classes]
        figure.add_bar(
            x=[
                round(100 * counts[label, level] / total, 2)
                for label, total in zip(classes, totals, strict=True)
            ],
            y=list(range(len(classes))),
            customdata=[counts[label, level] for label in classes],
            orientation="h",
            name=plain(level),
            marker={
                "color": style(number).colour,
                "pattern": {"shape": "" if number < _MOST_LEVELS // 2 else "/", "fillmode": "overlay"},
            },
            hovertemplate=f"{plain(level)}: %{{customdata:,}} samples (%{{x:.1f}} %)<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.3, legend_traceorder="normal")
    figure.update_xaxes(**axis("share of the class (%)", range=[0, 100]))
    figure.update_yaxes(**names_axis(distinct(classes)))
    v = cramers_v(labels.tolist(), values.tolist()).v
    said = [
        f"{label}: "
        + ", ".join(f"{counts[label, level]:,} {level}" for level in levels if counts[label, level])
        for label in classes
    ]
    alt = f"{'; '.join(said)}. Cramér's V of column and class over samples: {v:.2f}."
    caption = f"Cramér's V over samples: {v:.2f} (0: the column says nothing of the class; 1: it says all)."
    return column, (Figure(name, f"{column} by class", alt, figure, caption),)


def _ranked(values: NDArray[np.str_]) -> list[str]:
    return [value for value, _ in Counter(values.tolist()).most_common()]


def _cross_table(caption: str, what: str, values: NDArray[np.str_], labels: NDArray[np.str_]) -> Table:
    counts = Counter(zip(values.tolist(), labels.tolist(), strict=True))
    classes = _ranked(labels)
    rows: list[tuple[str | Cell, ...]] = [
        (value, *(Cell(str(counts[value, label]), counts[value, label]) for label in classes))
        for value in _ranked(values)
    ]
    return Table(caption, (what, *classes), tuple(rows))


def _counts(caption: str, what: str, counts: dict[str, int]) -> Table:
    rows = tuple((name, Cell(f"{count:,}", count)) for name, count in counts.items())
    return Table(caption, (what, "samples"), rows)


def _sizes(samples: Samples) -> Part:
    """Return formats and sizes of the files, the most frequent first."""
    columns: Sequence[NDArray[Any]] = (
        samples.format,
        samples.mode,
        samples.bits,
        samples.width,
        samples.height,
    )
    kinds = Counter(zip(*(column.tolist() for column in columns), strict=True)).most_common()
    rows = tuple(
        (
            kind or _BLANK,
            mode or _BLANK,
            Cell(str(bits) if bits else _BLANK, bits),
            Cell(f"{width} × {height}" if width else _BLANK, width * height),
            Cell(f"{count:,}", count),
        )
        for (kind, mode, bits, width, height), count in kinds[:_MOST_SIZES]
    )
    caption = "Files by format, colour mode, bits per channel and size (width × height, pixels)"
    if len(kinds) > _MOST_SIZES:
        caption += f": the {_MOST_SIZES} most frequent of {len(kinds)}"
    table = Table(caption, ("format", "mode", "bits", "size", "samples"), rows)
    return Folded(f"Formats and sizes ({counted(len(kinds), 'kind')})", (table,))


def _recipe(info: dict[str, Any]) -> Table:
    rows = [(name, plain_text(value)) for name, value in info["recipe"].items()]
    rows += [(f"fingerprint of {layer}", value) for layer, value in info["fingerprints"].items()]
    rows += [(f"selection: {name}", plain_text(value)) for name, value in info["selection"].items()]
    return Table("What decides the vectors", ("field", "value"), tuple(rows))


def _provenance(entries: list[dict[str, Any]]) -> Table:
    """Return the commits; what an entry lacks is left out, as anybody may have written it."""
    rows = []
    for entry in entries[-_MOST_ROWS:]:
        makers = entry.get("computed_by")
        named = [maker for maker in makers if isinstance(maker, dict)] if isinstance(makers, list) else []
        by = "; ".join(_made_by(maker) for maker in named)
        known = ("time", "rows", "computed_by")
        more = ", ".join(f"{name} {plain_text(value)}" for name, value in entry.items() if name not in known)
        count = entry.get("rows")
        rows.append(
            (
                str(entry.get("time", "?")),
                Cell(str(count) if count is not None else "?", count if isinstance(count, int) else None),
                by,
                more,
            )
        )
    return Table("Commits, the oldest first", ("time", "vectors", "computed by", "with"), tuple(rows))


def _made_by(maker: dict[str, Any]) -> str:
    libraries = plain_text(maker.get("libraries", {}))
    return f"{maker.get('engine', '?')} on {maker.get('device', '?')} ({libraries})"


def _failures(failures: list[dict[str, Any]]) -> Table:
    rows = tuple((each["path"], each["stage"], each["reason"]) for each in failures[:_MOST_ROWS])
    caption = "Files that did not become vectors; the next extract tries them again"
    if len(failures) > _MOST_ROWS:
        caption += f" (the first {_MOST_ROWS} of {len(failures)})"
    return Table(caption, ("path", "stage", "reason"), rows)
