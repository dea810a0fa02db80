"""The results of a run as text: what the terminal shows and `Run.table()` returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..classify.comparison import spoken
from ..classify.rules import AUTO
from .comparison import differences_text, meaning
from .numbers import mean_and_std, mean_with_interval, number_text, share_text
from .tables import DISCLAIMER, plain_text, text_table

HEADINGS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "npv": "NPV",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "mcc": "MCC",
    "brier": "Brier",
}
"""The metrics in the order of the columns, and what each column is headed."""
CALIBRATION = {"calibration_slope": "calibration slope", "calibration_intercept": "intercept", "ece": "ECE"}
"""Metrics of probabilities alone: shown where there are any."""
WITH_INTERVAL = ("accuracy", "balanced_accuracy", "roc_auc")
"""What is quoted most."""
_HEADS_ABREAST = 5
_PAIRS_SHOWN = 10
_ROUNDS_SHOWN = 20
"""A longer run's rounds are left out of a table, and in its folder."""


def rounds_table(document: dict[str, Any], head: str, noun: str = "images") -> str:
    """Return one head's rounds as the TRV paper shows them: a row a round, then average, worst and better."""
    metrics = document["heads"][head]
    names = document["round_names"]
    rows: list[Sequence[str] | None] = []
    if len(names) <= _ROUNDS_SHOWN:
        rows = [
            [name, *(number_text(metrics[metric]["rounds"][number]) for metric in HEADINGS)]
            for number, name in enumerate(names)
        ]
        rows.append(None)
    for label, key in (
        ("average", "mean"),
        ("95 % from", "low"),
        ("to", "high"),
        ("worst", "worst"),
        ("better", "best"),
    ):
        rows.append([label, *(number_text(metrics[metric][key]) for metric in HEADINGS)])
    table = text_table(head, ["round", *HEADINGS.values()], rows)
    reasons = [f"  {line}" for line in undefined_sentences(metrics)]
    return "\n".join([table, *reasons, "", confusion_table(document, head, noun)])


def confusion_table(document: dict[str, Any], head: str, noun: str = "images") -> str:
    """Return one head's confusion matrices summed over rounds, as counts and shares of each true class."""
    rows = []
    for name, counts in zip(document["classes"], document["confusion"][head]["sum"], strict=True):
        total = sum(counts)
        rows.append([name, *(share_text(count, total) for count in counts)])
    title = f"{head}: {judgements_text(document, head, noun)}"
    return text_table(title, ["true class", *(f"as {name}" for name in document["classes"])], rows)


def judgements_text(document: dict[str, Any], head: str, noun: str = "images") -> str:
    """Return what a head's confusion matrix counts, such as "770 judgements of 256 images over 10 rounds"."""
    judgements = sum(map(sum, document["confusion"][head]["sum"]))
    count = f"{document['rounds']} round{'s' if document['rounds'] != 1 else ''}"
    return f"{judgements} judgements of {document['tested']['rows']} {noun} over {count}"


def summary_table(document: dict[str, Any]) -> str:
    """Return heads side by side, a few at a time: mean ± standard deviation of each metric over the rounds."""
    heads = list(document["heads"].items())
    count = document["rounds"]
    title = f"Mean ± standard deviation over {count} round{'s' if count != 1 else ''}; {about(document)}"
    tables: list[str] = []
    for start in range(0, len(heads), _HEADS_ABREAST):
        few = dict(heads[start : start + _HEADS_ABREAST])
        rows = [
            [heading, *(mean_and_std(metrics[name]) for metrics in few.values())]
            for name, heading in {**HEADINGS, **CALIBRATION}.items()
            if any(metrics[name]["mean"] is not None for metrics in few.values())
        ]
        tables.append(text_table("" if tables else title, ["", *few], rows))
    return "\n\n".join(tables)


def intervals_table(document: dict[str, Any]) -> str:
    """Return each head's mean and 95 % interval of what is quoted most."""
    rows = [
        [head, *(mean_with_interval(metrics[name]) for name in WITH_INTERVAL)]
        for head, metrics in document["heads"].items()
    ]
    headings = ["", *(HEADINGS[name] for name in WITH_INTERVAL)]
    return text_table("Mean and 95 % interval", headings, rows) + f"\n{document['interval']}"


def summary_text(document: dict[str, Any]) -> str:
    """Return what all heads' tables have in common: summary, intervals, comparison, controls."""
    parts = [text for text in document["notes"] if text.startswith("LEAK")] + stopped_sentences(document)
    if document["heads"]:
        parts += [summary_table(document), intervals_table(document)]
        if document["by"] is not None:
            parts.append(units_text(document))
    if lines := [*tuned_sentences(document), *spread_sentences(document)]:
        parts.append("\n".join(lines))
    if pairs := document["comparison"]["pairs"]:
        name = spoken(document["comparison"]["metric"])
        few = len(pairs) <= _PAIRS_SHOWN
        text = differences_text(pairs) if few else f"{meaning(pairs)} icehouse compare shows them all."
        parts.append(f"Heads compared by {name}. {text}")
    if document["controls"] is not None:
        parts.append(controls_text(document["controls"]))
    return "\n\n".join(parts)


def run_tables(document: dict[str, Any]) -> str:
    """Return everything that `icehouse classify` shows: a table a head, the summary, the disclaimer."""
    parts = [rounds_table(document, head) for head in document["heads"]]
    if document["by"] is not None:
        parts += [rounds_of_units(document, head) for head in document["heads"]]
    return "\n\n".join([*parts, summary_text(document), DISCLAIMER])


def rounds_of_units(document: dict[str, Any], head: str) -> str:
    """Return one head's rounds, judged by patient (or another unit), and their confusion matrices."""
    noun = noun_of(document["by"])
    return f"{noun.capitalize()}: {rounds_table(by_unit(document), head, noun)}"


def units_text(document: dict[str, Any]) -> str:
    """Return the summary by patient (or another unit), with intervals, and who is left out."""
    own = by_unit(document)
    title, lines = noun_of(document["by"]).capitalize(), "\n".join(units_sentences(document["by"]))
    return "\n\n".join([f"{title}. {summary_table(own)}", intervals_table(own), lines])


def units_sentences(by: dict[str, Any]) -> list[str]:
    """Say how the units' answers are made, who is left out, and which rules were chosen."""
    noun = noun_of(by)
    lines = [f"{by['units']} {noun}: the rule {by['rule']} makes one answer of the images of each."]
    lines += [f"{count} {noun} left out: {reason}." for reason, count in by["left_out"].items()]
    if by["undecided"]:
        lines.append(f"{by['undecided']} {noun} undecided and not judged: no image of them was selected.")
    if by["rule"] == AUTO:
        for head, chosen in by["rules"].items():
            counts = Counter(chosen).most_common(3)
            shown = "; ".join(f"{text} ({count} of {len(chosen)} rounds)" for text, count in counts)
            lines.append(f"Chosen for {head} in the training parts: {shown}")
    return lines


def by_unit(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of the same form with those by unit in the place of those by image."""
    by = document["by"]
    taken = {name: by[name] for name in ("heads", "per_class", "spread", "confusion", "interval")}
    return {**document, **taken, "tested": {"rows": by["units"]}}


def noun_of(by: dict[str, Any]) -> str:
    """Return what the units of results by unit are called."""
    return "patients" if by["column"] == "patient" else f"units of {by['column']}"


def controls_text(controls: dict[str, Any]) -> str:
    """Return the verdict of each control, alarms marked."""
    found = [(name, controls[name]) for name in ("majority", "permuted", "pixels")]
    found += [("origin", entry) for entry in controls["origin"]]
    lines = [f"  {'!' if entry['alarm'] else ' '} {name}: {entry['verdict']}" for name, entry in found]
    return "\n".join(["Controls", *lines])


def tuned_sentences(document: dict[str, Any]) -> list[str]:
    """Say what tuning chose most often for each head."""
    lines = []
    for head, chosen in (document["tuned"] or {}).items():
        counts = Counter(
            ", ".join(f"{name}={plain_text(value)}" for name, value in each.items()) for each in chosen
        )
        choices = [f"{text} ({count} of {len(chosen)} rounds)" for text, count in counts.most_common(3) if text]
        lines += [f"Tuned {head}: {'; '.join(choices)}"] if choices else []
    return lines


def spread_sentences(document: dict[str, Any]) -> list[str]:
    """Say how much of the spread of accuracy is the split's and how much the seed's, where that can be told."""
    lines = []
    for head, spreads in document["spread"].items():
        split, seed = spreads["accuracy"]["split"], spreads["accuracy"]["seed"]
        if seed is not None:
            whole = "–" if split is None else f"{split:.4f}"
            lines.append(
                f"Spread of {head}'s accuracy (standard deviation): {whole} by split, {seed:.4f} by seed"
            )
    return lines


def stopped_sentences(document: dict[str, Any]) -> list[str]:
    """Say which heads were stopped, and how they go on."""
    return [
        f"Head {stop['head']} was stopped: {stop['rounds']} of {stop['of']} rounds were done in "
        f"{stop['seconds']:g} s. The same command with a larger time budget goes on there."
        for stop in document["stopped"]
    ]


def about(document: dict[str, Any]) -> str:
    """Return whose images they are, and which class the metrics mean."""
    if document["grouped"]:
        unit = f"grouped by {document['patients']} patients"
    else:
        unit = "no patients known" if document["patients"] is None else "patients disregarded"
    if document["positive"] is not None:
        return f"{unit}, positive class: {document['positive']}"
    return f"{unit}, {len(document['classes'])} classes (one against the rest, averaged)"


def undefined_sentences(metrics: dict[str, Any]) -> list[str]:
    """Say why there is a dash in the table."""
    notes = []
    for name, heading in HEADINGS.items():
        entry = metrics[name]
        if "defined" in entry:
            count = (
                f"{entry['defined']} of {len(entry['rounds'])} round{'s' if len(entry['rounds']) > 1 else ''}"
            )
            notes.append(f"{heading}: defined in {count}: {entry['reason']}")
    return notes
