"""Bundles and predictions as text: what `icehouse bundle info` and `icehouse predict` show."""

from __future__ import annotations

from typing import Any

from ..classify.comparison import spoken
from .tables import DISCLAIMER, counted, plain_text, text_table

_FAILURES_SHOWN = 10


def prediction_text(document: dict[str, Any]) -> str:
    """Return what `icehouse predict` shows at its end; each sample's row is in the file it wrote.

    Parameters
    ----------
    document : dict
        "samples", "frames", "failed", "predicted" (class to count), "undecided", "in_training",
        "ood_below_5_percent", "out", "seconds", "images_per_second", "by" (None, or "column", "rule" and
        "units"), "failures" (each with "path" and "reason") and "notes".
    """
    by = document["by"]
    frames = "" if document["frames"] == document["samples"] else f" ({counted(document['frames'], 'frame')})"
    failed = f", {document['failed']} failed" if document["failed"] else ""
    where = f"{document['out']}: " if document["out"] else ""
    lines = [f"{where}{counted(document['samples'], 'sample')}{frames}{failed}"]
    if document["seconds"] is not None:
        rate = document["images_per_second"]
        lines[0] += f", {document['seconds']:.1f} s" + (f", {rate:.1f} images/s" if rate else "")
    if document.get("threshold") is not None:
        lines.append(f"  {document['positive']} from a probability of {document['threshold']:.4g} on")
    if by:
        lines.append(f"  {counted(by['units'], 'row')}, by {by['column']} and the rule {by['rule']}")
    answers = [f"{count} {name}" for name, count in document["predicted"].items()]
    answers += [f"{document['undecided']} undecided"] if document["undecided"] else []
    lines.append(f"  predicted: {', '.join(answers) or 'nothing'}")
    if unlike := document["ood_below_5_percent"]:
        meaning = "out-of-distribution p under 0.05, which chance gives one in twenty"
        lines.append(f"  {unlike} unlike the training images ({meaning})")
    if document["in_training"]:
        lines.append(f"  {document['in_training']} in the training set: the head has seen their labels")
    failures = document["failures"]
    if failures:
        lines.append("Failed:")
        lines += [f"  {failure['path']}: {failure['reason']}" for failure in failures[:_FAILURES_SHOWN]]
    if len(failures) > _FAILURES_SHOWN:
        lines.append(f"  and {len(failures) - _FAILURES_SHOWN} more: --json lists all")
    return "\n".join([*lines, *document["notes"], DISCLAIMER])


def bundle_text(document: dict[str, Any]) -> str:
    """Return what `icehouse bundle info` shows.

    Parameters
    ----------
    document : dict
        "bundle", "format_version", "classes", "positive", "threshold" (None, or "value" and "sensitivity"),
        "dimensions" (of each layer), "recipe", "fingerprints", "frames", "head" ("text", "kind", "parameters",
        "tuned", "reduce", "balance", "seed"), "calibration" (text or None), "novelty" (None, or "rows" and
        "dimensions"), "training" ("images", "frames", "views", "patients", "per_class", "anonymized"),
        "expected" (None, or "run", "rounds" and "metrics", each with "mean", "low" and "high"), "made_with" and
        "notes".
    """
    novelty = document["novelty"]
    lines = [
        f"{document['bundle']}: {document['head']['text']}, bundle format {document['format_version']}",
        f"classes: {', '.join(document['classes'])}",
        *_positive(document),
        *_head(document["head"]),
        f"calibration: {document['calibration'] or 'none'}",
        *_training(document["training"]),
        "out-of-distribution reference: "
        + (
            f"{counted(novelty['rows'], 'vector')}, {counted(novelty['dimensions'], 'dimension')}"
            if novelty
            else "none"
        ),
        f"vectors: {plain_text(document['dimensions'])} dimensions; frames {plain_text(document['frames'])}",
        "recipe:",
        *(f"  {name}: {plain_text(value)}" for name, value in document["recipe"].items()),
        *(f"fingerprint of {layer}: {value}" for layer, value in document["fingerprints"].items()),
        f"made with: {plain_text(document['made_with'])}",
    ]
    parts = ["\n".join(lines), _expected(document)]
    parts += ["\n".join(document["notes"])] if document["notes"] else []
    return "\n\n".join([*parts, DISCLAIMER])


def _positive(document: dict[str, Any]) -> list[str]:
    if document["positive"] is None:
        return []
    threshold = document["threshold"]
    if threshold is None:
        return [f"positive: {document['positive']}"]
    asked = threshold["sensitivity"]
    chosen = "" if asked is None else f", chosen for a sensitivity of {asked:.4g}"
    return [f"positive: {document['positive']}, from a probability of {threshold['value']:.4g} on{chosen}"]


def _head(head: dict[str, Any]) -> list[str]:
    options = [f"{name} {plain_text(head[name])}" for name in ("reduce", "balance") if head[name]]
    options += [f"seed {head['seed']}"] if head["seed"] is not None else []
    lines = [f"head: {head['kind']}" + "".join(f", {option}" for option in options)]
    for name, title in (("parameters", "parameters"), ("tuned", "of these tuned")):
        if head[name]:
            values = ", ".join(f"{key}={plain_text(value)}" for key, value in head[name].items())
            lines.append(f"  {title}: {values}")
    return lines


def _training(training: dict[str, Any]) -> list[str]:
    patients = f" of {counted(training['patients'], 'patient')}" if training["patients"] else ""
    frames = f", {counted(training['frames'], 'frame')}" if training["frames"] != training["images"] else ""
    views = f", {training['views']} views of each" if training["views"] > 1 else ""
    lines = [f"fitted on {counted(training['images'], 'image')}{patients}{frames}{views}"]
    lines.append("  " + ", ".join(f"{count} {label}" for label, count in training["per_class"].items()))
    if training["anonymized"]:
        lines.append("  from an anonymized cache: whether an image was among them cannot be known")
    return lines


def _expected(document: dict[str, Any]) -> str:
    expected, threshold = document["expected"], document["threshold"] or {}
    found = threshold.get("out_of_fold")
    chosen = (
        f"Out of fold in training the threshold had a sensitivity of {found['sensitivity']:.3f}"
        if found
        else ""
    )
    lines = [f"{chosen} and a specificity of {found['specificity']:.3f}."] if found else []
    if expected is None:
        lines.append("What to expect of new images is not known: no run was given when the head was fitted.")
        return "\n".join(lines)
    rows = [
        [spoken(name), f"{each['mean']:.3f}", "–" if each["low"] is None else _span(each)]
        for name, each in expected["metrics"].items()
        if each["mean"] is not None
    ]
    title = f"What to expect, by {counted(expected['rounds'], 'round')} of {expected['run']}"
    parts = [text_table(title, ["", "mean", "95 % interval"], rows), *lines]
    if document["calibration"] and not found:
        parts.append("The run judged the head's own decisions; calibration may move some of them.")
    return "\n".join(parts)


def _span(found: dict[str, Any]) -> str:
    return f"{found['low']:.3f} to {found['high']:.3f}"
