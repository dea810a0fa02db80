"""A comparison of heads as text: what `icehouse compare` shows."""

from __future__ import annotations

from typing import Any

from ..classify.comparison import LEVEL, spoken
from .numbers import difference_text, interval_text, number_text, p_text
from .tables import DISCLAIMER, text_table

_NAMED = 3


def comparison_text(document: dict[str, Any]) -> str:
    """Return the means and differences of a comparison, what they mean, and what they leave out.

    Parameters
    ----------
    document : dict
        As `classify.comparison.compare_runs` returns it.
    """
    parts = [_means(document), differences_text(document["pairs"]), "\n".join(sentences(document)), DISCLAIMER]
    return "\n\n".join(parts)


def differences_text(pairs: list[dict[str, Any]]) -> str:
    """Return the table of pairwise differences, and what it means."""
    rows = [
        [
            f"{pair['a']} − {pair['b']}",
            difference_text(pair["difference"]),
            interval_text(pair),
            p_text(pair["p"]),
            p_text(pair["p_holm"]),
        ]
        for pair in pairs
    ]
    headings = ["", "mean", "95 % interval", "p", "p (Holm)"]
    return f"{text_table('Differences', headings, rows)}\n{meaning(pairs)}"


def _means(document: dict[str, Any]) -> str:
    rows = [
        [label, number_text(entry["mean"]), interval_text(entry)] for label, entry in document["heads"].items()
    ]
    name = spoken(document["metric"])
    unit = f" of {document['patients']} patients" if document["patients"] is not None else ""
    count = document["splits"]
    title = (
        f"{name[0].upper()}{name[1:]}: mean over {count} split{'s' if count != 1 else ''}, "
        f"{document['rows']} rows{unit}"
    )
    return text_table(title, ["", "mean", "95 % interval"], rows)


def sentences(document: dict[str, Any]) -> list[str]:
    """Say how the intervals are made, and what is left out."""
    said = [document["interval"]]
    said += [
        f"{label}: defined in {entry['defined']} of {document['rounds']} rounds ({entry['reason']}); the "
        "others are left out of its differences."
        for label, entry in document["heads"].items()
        if "defined" in entry
    ]
    if gone := document["left_out"]:
        named = ", ".join(f"{image['path']} (only in {' and '.join(image['in'])})" for image in gone[:_NAMED])
        more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
        said.append(f"Left out of all runs, because not all have them: {named}{more}.")
    return said


def meaning(pairs: list[dict[str, Any]]) -> str:
    """Return what the differences say, in one sentence."""
    if len(pairs) == 1:
        return str(pairs[0]["verdict"])
    if all(pair["p"] is None for pair in pairs):
        return "No two heads can be compared by it."
    told = [pair for pair in pairs if pair["p_holm"] is not None and pair["p_holm"] < LEVEL]
    if not told:
        return f"No difference is more than chance explains, {len(pairs)} comparisons considered."
    named = ", ".join(f"{pair['a']} − {pair['b']}" for pair in told)
    return f"More than chance explains, {len(pairs)} comparisons considered: {named}."
