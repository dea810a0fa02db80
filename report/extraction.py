"""What the terminal shows of an extraction: summary, remarks and estimate; the backbones and their weights."""

from __future__ import annotations

from typing import Any

from .tables import size_text, text_table

_KINDS = {
    "8-bit": ("8-bit file", ""),
    "x-ray": ("DICOM radiograph", ""),
    "ct": ("CT file", " in Hounsfield units"),
    "other": ("file", " deeper than 8 bits"),
}


def summary_text(summary: dict[str, Any]) -> str:
    """Return what `icehouse extract` says at its end."""
    layers = ", ".join(f"{layer} ({d} dimensions)" for layer, d in summary["dimensions"].items())
    lines = [
        f"{summary['cache']}: {summary['samples']} samples, {summary['images']} images: "
        f"{summary['computed']} computed, {summary['reused']} reused, {summary['failed']} failed",
        f"  {layers}, fingerprint {summary['fingerprint'][:12]}",
    ]
    if summary["images_per_second"]:
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in summary["stages"].items())
        lines.append(
            f"  {summary['images_per_second']:.1f} images/s by {summary['engine']} on the {summary['device']}, "
            f"{summary['precision']} ({stages})"
        )
    if summary["not_selected"]:
        lines.append(
            f"  {_counted(summary['not_selected'], 'slice')} not selected, of "
            f"{_counted(summary['sequences'], 'sequence')} of files"
        )
    if summary["spare"]:
        lines.append(f"  {summary['spare']} vectors that no sample takes are kept as spare ones")
    if summary["failures"]:
        lines.append(failures_table(summary["failures"]))
    return "\n".join(lines)


def remarks(summary: dict[str, Any]) -> list[str]:
    """Return what is worth a line beside the results: how grey values came about, and what bounds the speed."""
    found = [
        f"intensity: {_counted(entry['files'], _KINDS[kind][0])}{_KINDS[kind][1]} by {entry['policy']}"
        for kind, entry in summary["intensity"].items()
        if kind != "8-bit" or len(summary["intensity"]) > 1
    ]
    return [*found, summary["advice"]] if summary["advice"] else found


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def failures_table(failures: list[dict[str, str]], most: int = 20) -> str:
    """Return the images that failed, the first few by name."""
    rows = [[failure["path"], failure["stage"], failure["reason"]] for failure in failures[:most]]
    table = text_table("Failed images", ["path", "stage", "reason"], rows)
    left = len(failures) - most
    return f"{table}\n  and {left} more: icehouse cache info --json lists all" if left > 0 else table


def estimate_text(estimate: dict[str, Any]) -> str:
    """Return what `icehouse extract --dry-run` says."""
    return (
        f"{estimate['samples']} samples: {estimate['compute']} images to compute, "
        f"{estimate['reuse']} in the cache, {estimate['unreadable']} files unreadable; "
        f"about {_duration(estimate['seconds'])} and {size_text(estimate['bytes'])}. Nothing was written."
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def backbones_text(backbones: list[dict[str, Any]]) -> str:
    """Return what `icehouse backbones` shows."""
    rows = [
        [
            backbone["name"],
            f"{backbone['size']}×{backbone['size']}",
            str(backbone["dimensions"]),
            f"{backbone['parameters'] / 1e6:.1f} M",
            "here" if backbone["weights"] else "not here",
        ]
        for backbone in backbones
    ]
    table = text_table("", ["backbone", "input", "dimensions", "parameters", "ImageNet weights"], rows)
    return f"{table}\nWhere weights are looked for: icehouse weights. A Keras model of your own: model:PATH"


def weights_text(listings: list[dict[str, Any]]) -> str:
    """Return what `icehouse weights` shows: each file that is wanted, its hash, and every place looked into."""
    lines = []
    for listing in listings:
        hashed = f", {listing['hash_kind'].upper()} {listing['hash']}" if listing["hash"] else ""
        lines.append(f"{listing['backbone']}: {listing['file']}{hashed}")
        for place in listing["places"]:
            state = "here" if place["present"] else "not here"
            if place["fits"] is not None:
                state = "here, and sound" if place["fits"] else "here, but ANOTHER FILE: its hash differs"
            lines.append(f"  {state}: {place['path']}")
    return "\n".join(lines)
