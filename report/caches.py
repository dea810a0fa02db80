"""What the commands of `icehouse cache` show, as text."""

from __future__ import annotations

from typing import Any

from .extraction import failures_table
from .tables import plain_text, size_text, text_table

_MOST = 20


def info_text(info: dict[str, Any]) -> str:
    """Return what `icehouse cache info` shows."""
    recipe = dict(info["recipe"])
    lines = [
        f"{info['cache']}: {size_text(info['bytes'])}, {'complete' if info['complete'] else 'NOT complete'}, "
        f"made by {info['created_by']}",
        f"vectors: {info['rows']} ({info['spare']} spare), "
        + ", ".join(f"{layer}: {d} dimensions" for layer, d in info["dimensions"].items()),
        f"samples: {_listed(info['states'])}",
        f"labels: {_listed(info['labels']) or 'none'}",
        f"splits: {_listed(info['splits']) or 'none'}",
        f"patients: {info['patients'] or 'none'}",
        f"columns: {', '.join(info['columns']) or 'none'}",
        f"selection: {plain_text(info['selection']) or 'none'}",
        *(["anonymized: paths, patients and contents are pseudonyms"] if info["anonymized"] else []),
        "recipe:",
        *(f"  {name}: {plain_text(value)}" for name, value in recipe.items()),
        *(f"fingerprint of {layer}: {value}" for layer, value in info["fingerprints"].items()),
        "written:",
        *(f"  {_written(entry)}" for entry in info["provenance"]),
    ]
    if info["failures"]:
        lines.append(failures_table(info["failures"]))
    return "\n".join(lines)


def verify_text(found: dict[str, Any]) -> str:
    """Return what `icehouse cache verify` shows."""
    share = f"{found['checked']} of {found['blocks']} blocks read"
    if found["intact"] and found["checked"] == found["blocks"]:
        return f"{found['cache']}: intact ({share})"
    if found["intact"]:
        return f"{found['cache']}: no damage in what was read ({share})"
    lines = [f"{found['cache']}: DAMAGED ({share})", *_damage(found["damaged"])]
    lines += [f"  {problem}" for problem in found["problems"]]
    lines.append(f"icehouse cache repair {found['cache']} keeps what is intact.")
    return "\n".join(lines)


def repair_text(result: dict[str, Any]) -> str:
    """Return what `icehouse cache repair` shows."""
    lines = [
        f"{result['cache']}: {result['rows_kept']} vectors kept, {result['rows_lost']} lost, "
        f"{result['spare_dropped']} spare ones dropped"
    ]
    computes, brings = "the next extract computes them", "the next extract brings them back"
    if not result["extractable"]:
        computes = brings = "no extract can bring them back: import or merge them again"
    if result["lost"]:
        lines.append(f"{len(result['lost'])} samples are pending; {computes}:")
        lines += _some([f"  {path}" for path in result["lost"]])
    if result["samples_lost"]:
        lines.append(f"{len(result['samples_lost'])} samples are lost; {brings}:")
        lines += _some([f"  row {lost['row']}: {lost['path'] or '?'}" for lost in result["samples_lost"]])
    lines += [f"lost or wrong besides: {text}" for text in result["other_losses"]]
    return "\n".join(lines)


def merge_text(result: dict[str, Any]) -> str:
    """Return what `icehouse cache merge` shows."""
    text = (
        f"{result['cache']}: {result['samples']} samples, {result['rows']} vectors of {len(result['caches'])} "
        f"caches ({result['kept_once']} stood in more than one)"
    )
    if result["resolved"]:
        text += f"; {result['resolved']} conflicts decided"
    if result["unrecognized"]:
        text += (
            "\nBeware: images and patients of an anonymized cache are not recognized in another; if any stand "
            "in two, splits will leak."
        )
    return "\n".join([text, *result["notes"]])


def split_text(result: dict[str, Any]) -> str:
    """Return what `icehouse cache split` shows."""
    rows = [[part["cache"], part["value"], str(part["samples"]), str(part["rows"])] for part in result["parts"]]
    lines = [text_table("", ["cache", "part", "samples", "vectors"], rows)]
    for key, what in (("shared_images", "images"), ("shared_patients", "patients")):
        if result[key]:
            lines.append(f"Beware: {result[key]} {what} stand in more than one part.")
    if result["spare_left_out"]:
        lines.append(f"{result['spare_left_out']} spare vectors, which no sample names, are in no part.")
    return "\n".join(lines)


def export_text(result: dict[str, Any]) -> str:
    """Return what `icehouse cache export` shows."""
    text = f"{result['output']}: {result['rows']} vectors of {result['dimensions']} ({result['layer']})"
    return f"{text}; {result['left_out']} samples without one left out" if result["left_out"] else text


def import_text(result: dict[str, Any]) -> str:
    """Return what `icehouse cache import` shows."""
    classes = _listed(result["classes"]) or "no labels"
    patients = f"{result['patients']} patients" if result["patients"] else "no patients"
    return (
        f"{result['cache']}: {result['samples']} samples, {result['rows']} vectors of {result['dimensions']} "
        f"({result['layer']}); {classes}; {patients}"
    )


def diff_text(result: dict[str, Any]) -> str:
    """Return what `icehouse cache diff` shows."""
    lines = [f"A {result['first']}", f"B {result['second']}"]
    if result["same_recipe"]:
        lines.append("The recipe is the same.")
    kinds = [field for field in result["fields"] if field["field"] == "kind"]
    lines += [field["sentence"] for field in kinds or result["fields"]]
    lines += [f"selection: {field['sentence']}" for field in result["selection"]]
    lines += [
        f"layer {layer} is in one of them only" for layer, same in result["layers"].items() if same is None
    ]
    if result["canary_distance"] is not None:
        lines.append(f"canaries: {result['canary_distance']:.1e} apart")
    lines.append(f"samples: {result['samples'][0]} and {result['samples'][1]}")
    if result["images"] is None:
        lines.append("images: cannot be compared, as at least one cache is anonymized")
    else:
        images = result["images"]
        lines.append(
            f"images: {images['both']} in both, {images['first_only']} in A only, {images['second_only']} in B "
            f"only; {result['relabelled']} of those in both have another label"
        )
    return "\n".join(lines)


def _damage(damaged: list[dict[str, Any]]) -> list[str]:
    rows = [
        [
            damage["dataset"],
            str(damage["block"]),
            "–".join(map(str, damage["rows"])) if damage["rows"] else "all",
            damage["reason"],
        ]
        for damage in damaged[:_MOST]
    ]
    if not rows:
        return []
    more = [f"  and {len(damaged) - _MOST} more: --json lists all"] if len(damaged) > _MOST else []
    return [text_table("", ["dataset", "block", "rows", "what is wrong"], rows), *more]


def _some(lines: list[str]) -> list[str]:
    return (
        lines if len(lines) <= _MOST else [*lines[:_MOST], f"  and {len(lines) - _MOST} more: --json lists all"]
    )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _written(entry: dict[str, Any]) -> str:
    """Return one entry of provenance as a line; what it lacks is left out, as anybody may have written it."""
    makers = entry.get("computed_by")
    named = [maker for maker in makers if isinstance(maker, dict)] if isinstance(makers, list) else []
    by = [
        f"{maker.get('engine', '?')} on {maker.get('device', '?')} ({plain_text(maker.get('libraries', {}))})"
        for maker in named
        if maker
    ]
    known = ("time", "rows", "computed_by", "icehouse", "python")
    more = [f"{name}: {plain_text(value)}" for name, value in entry.items() if name not in known]
    parts = [str(entry.get("time", "?")), f"{entry.get('rows', '?')} rows", *more]
    return "  ".join(parts) + (f" by {'; '.join(by)}" if by else "")
