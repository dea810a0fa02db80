"""An evaluation on external data as text: what `icehouse evaluate` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .results import HEADINGS
from .tables import DISCLAIMER, counted, text_table

_METRICS = {
    **HEADINGS,
    "calibration_slope": "calibration slope",
    "calibration_intercept": "intercept",
    "ece": "ECE",
}
_OF_CLASSES = ("sensitivity", "precision", "f1", "roc_auc")


def evaluation_text(document: dict[str, Any]) -> str:
    """Return everything that `icehouse evaluate` shows.

    Parameters
    ----------
    document : dict
        As `bundle.evaluation.evaluate` returns it, with what was evaluated: "bundle", "data", "samples",
        "failed", "unlabelled", "unknown_labels" (label to count), "classes", "positive", "threshold", "by",
        "rule", "in_training" and "notes", as far as there is such a thing.
    """
    parts = [_about(document)]
    if document["rows"]:
        parts += [_confusion(document), _metrics(document), _per_class(document)]
        parts += [_calibration(document)] if document["calibration"]["bins"] else []
        parts += [_prevalence(document)] if document["prevalence"] is not None else []
    notes = document.get("notes") or []
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else []), DISCLAIMER])


def _about(document: dict[str, Any]) -> str:
    """Say what was judged, and what was not."""
    lines = []
    if "samples" in document:
        counts = [counted(document["samples"], "sample"), *_left_out(document)]
        lines.append(f"{document['bundle']} on {document['data']}: {', '.join(counts)}")
    by = document.get("by")
    what = {None: "sample", "patient": "patient"}.get(by, f"row by {by}")
    rows = counted(document["rows"], what) if by in (None, "patient") else f"{document['rows']:,} rows by {by}"
    judged = f"{rows} judged"
    if by != "patient":
        judged += f", of {counted(document['patients'], document['counted'].removesuffix('s'))}"
    if document["undecided"]:
        share = f"decided: {_value(document['decided'])}"
        judged += f"; {document['undecided']} undecided, in none of the numbers below ({share})"
    lines.append(judged)
    lines += [f"  {count} {words}" for words, count in (document.get("left_out") or {}).items()]
    if document.get("rule"):
        lines.append(f"each {what} from its images by the rule {document['rule']}")
    if document.get("positive") is not None:
        threshold = document.get("threshold")
        since = "" if threshold is None else f", from a probability of {threshold:.4g} on"
        lines.append(f"positive class: {document['positive']}{since}")
    trained = {name: count for name, count in (document.get("in_training") or {}).items() if count}
    if trained:
        seen = " and ".join(f"{count} {name}" for name, count in trained.items())
        lines.append(f"BEWARE: trained on, so that the numbers flatter the head: {seen}.")
    if unlike := document.get("ood_below_5_percent"):
        lines.append(f"{unlike} unlike the training images (out-of-distribution p under 0.05)")
    return "\n".join(lines)


def _left_out(document: dict[str, Any]) -> list[str]:
    named = (("failed", "failed"), ("unlabelled", "without a label"), ("not_selected", "not selected"))
    left = [f"{document[name]} {words}" for name, words in named if document.get(name)]
    if unknown := document.get("unknown_labels"):
        names = ", ".join(f"{count} {label}" for label, count in unknown.items())
        left.append(f"{sum(unknown.values())} of classes that the bundle does not know ({names})")
    return left


def _confusion(document: dict[str, Any]) -> str:
    rows = []
    for name, counts in zip(document["per_class"], document["confusion"], strict=True):
        total = sum(counts)
        cells = [f"{count} ({count / total:.1%})" if total else str(count) for count in counts]
        rows.append([name, *cells])
    headings = ["true class", *(f"as {name}" for name in document["per_class"])]
    return text_table(f"{document['rows']} judgements, and their share of each true class", headings, rows)


def _metrics(document: dict[str, Any]) -> str:
    shown = {name: heading for name, heading in _METRICS.items() if name in document}
    rows = [[heading, _number(document[name]), _interval(document[name])] for name, heading in shown.items()]
    reasons = _reasons({heading: document[name] for name, heading in shown.items()})
    table = text_table("Metrics", ["", "value", "95 % interval"], rows)
    return "\n".join([table, *reasons, document["interval"]])


def _per_class(document: dict[str, Any]) -> str:
    rows = [
        [
            label,
            str(entries["rows"]),
            str(entries["patients"]),
            *(_value(entries[name]) for name in _OF_CLASSES),
        ]
        for label, entries in document["per_class"].items()
    ]
    headings = ["", "samples", document["counted"], *(HEADINGS[name] for name in _OF_CLASSES)]
    return text_table("Each class against the rest", headings, rows)


def _calibration(document: dict[str, Any]) -> str:
    of = document["calibration"]["of"]
    what = "the class predicted" if of is None else of
    rows = [
        [
            f"{each['lowest']:.3f} to {each['highest']:.3f}",
            f"{each['probability']:.3f}",
            f"{each['observed']:.3f}",
            _interval(each, 3),
            str(each["rows"]),
            str(each["patients"]),
        ]
        for each in document["calibration"]["bins"]
    ]
    headings = ["probability", "mean", "came true", "95 % interval", "samples", document["counted"]]
    return text_table(
        f"Calibration: the probability of {what}, and how often that was the truth", headings, rows
    )


def _prevalence(document: dict[str, Any]) -> str:
    at = document["prevalence"]
    found = {"precision (PPV)": at["precision"], "NPV": at["npv"]}
    rows = [[name, _number(each), _interval(each)] for name, each in found.items()]
    title = f"Where {at['value']:.4g} of all are {at['of']} (in these data {at['in_data']:.3f})"
    return "\n".join([text_table(title, ["", "value", "95 % interval"], rows), *_reasons(found)])


def _number(found: dict[str, Any]) -> str:
    return "–" if found["value"] is None else f"{found['value']:.4f}"


def _interval(found: dict[str, Any], digits: int = 4) -> str:
    return "–" if found["low"] is None else f"{found['low']:.{digits}f} to {found['high']:.{digits}f}"


def _value(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return "–"
    return f"{found['value']:.3f}" + ("" if found["low"] is None else f" ({_interval(found, 3)})")


def _reasons(entries: dict[str, dict[str, Any]]) -> list[str]:
    """Say why there are dashes, once what several have in common."""
    concerned: dict[str, list[str]] = {}
    for name, found in entries.items():
        if "reason" in found:
            concerned.setdefault(found["reason"], []).append(name)
    return [f"  {_and(names)}: {reason}" for reason, names in concerned.items()]


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
