"""What `icehouse inspect` says: what there is, and warnings in sentences, the most important first."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from .extraction import failures_table
from .tables import plain_text, text_table

_WIDTH = 110
_MOST = 8
_LISTED = 20
_FEW = 10

Finding = tuple[str, str]
"""What is the matter, and what to do about it."""


def warnings(found: dict[str, Any]) -> list[dict[str, str]]:
    """Return what should be known before anything is computed, the most important first.

    Parameters
    ----------
    found : dict
        From `extract.findings`.

    Returns
    -------
    list of dict
        `what` is the matter and what to `do` about it.
    """
    parts = (_unreadable, _leaks, _contradictions, _ties, _classes, _patients, _faults, _headers, _others)
    return [{"what": what, "do": do} for part in parts for what, do in part(found)]


def _unreadable(found: dict[str, Any]) -> Iterator[Finding]:
    if failures := found["unreadable"]:
        yield (
            f"{_files(len(failures))} of {found['files']} cannot be read, such as {failures[0]['path']}: "
            f"{failures[0]['reason']}.",
            "Mend or remove them; an extraction lists them as failed and goes on without them.",
        )


def _leaks(found: dict[str, Any]) -> Iterator[Finding]:
    if patients := found["patients"]["several_splits"]:
        yield (
            f"{_count(len(patients), 'patient')} in more than one split, such as {patients[0]}: what is tested "
            "was trained on.",
            "Put each patient into one split, or let icehouse classify make the splits.",
        )
    if groups := found["copies"]["several_splits"]:
        yield (
            f"{_count(len(groups), 'picture')} in more than one split, such as {_and(groups[0])}.",
            "Remove the copies, or let icehouse classify make the splits.",
        )
    every = {label for label in found["classes"] if label}
    for split, classes in found["splits"].items():
        if missing := sorted(every - set(classes)):
            yield (
                f"The split {split} has no file of {_and(missing)}.",
                "Let icehouse classify make the splits, or fill that one up.",
            )


def _contradictions(found: dict[str, Any]) -> Iterator[Finding]:
    if groups := found["copies"]["several_labels"]:
        yield (
            f"{_count(len(groups), 'picture')} under several labels, such as {_and(groups[0])}.",
            "Find out which label is right, and remove the others.",
        )
    if groups := found["copies"]["several_patients"]:
        yield (
            f"{_count(len(groups), 'picture')} under several patients, such as {_and(groups[0])}.",
            "Give copies one patient, or remove them: patients keep copies on one side of a split.",
        )


def _ties(found: dict[str, Any]) -> Iterator[Finding]:
    ties = found["ties"]
    if not ties:
        return
    first = ties[0]
    rest = [f"{tie['name']} ({tie['v']:.2f})" for tie in ties[1 : _MOST + 1]]
    also = f" So do {_and(rest)}." if rest else ""
    yield (
        f"The class and {first['name']} go together (Cramér's V {first['v']:.2f}, 1 being wholly): "
        f"{'; '.join(_shares(first))}.{also} A classifier could tell the classes by traces of that in the "
        "pixels and never look at disease.",
        "Take the images of all classes from the same places, saved in the same way, or judge on images from "
        "elsewhere; compare with --weights random:0, which sees little else.",
    )


def _shares(tie: dict[str, Any]) -> Iterator[str]:
    for label, counts in list(tie["by_class"].items())[:_MOST]:
        total = sum(counts.values())
        values = [
            f"all {total} {value}" if count == total else f"{count} of {total} {value}"
            for value, count in list(counts.items())[:2]
        ]
        yield f"{label} {', '.join(values)}"


def _classes(found: dict[str, Any]) -> Iterator[Finding]:
    classes = {label: own for label, own in found["classes"].items() if label}
    if not classes:
        yield (
            "No file has a label.",
            "Vectors can be computed; to classify, give a folder a class, a column label, or --labels FILE.",
        )
        return
    if "" in found["classes"]:
        yield f"{_files(found['classes']['']['files'])} without a label.", "Give them one, or leave them out."
    if len(classes) == 1:
        yield f"All labels are {next(iter(classes))}: there is nothing to tell apart.", "Add another class."
    for label, own in classes.items():
        if own["read"] < _FEW:
            yield (
                f"Class {label} has {_files(own['read'])} that can be read: too few to train and test on.",
                "Add images, or leave the class out.",
            )


def _patients(found: dict[str, Any]) -> Iterator[Finding]:
    patients = found["patients"]
    if not patients["count"]:
        yield (
            "No patients are known, so that images of one patient can be trained on and tested.",
            "Give a CSV manifest with a column patient, or --labels FILE with path and patient.",
        )
    elif patients["without"]:
        yield (
            f"{_files(len(patients['without']))} without a patient, such as {patients['without'][0]}: each "
            "counts as a patient of its own.",
            "Fill in the column patient.",
        )
    if several := patients["several_labels"]:
        yield (
            f"{_count(len(several), 'patient')} under several labels, such as {several[0]}.",
            "That can be right (before and after); splits keep all of a patient's images on one side.",
        )


def _faults(found: dict[str, Any]) -> Iterator[Finding]:
    sentences = {
        "constant": ("one value in every pixel", "Remove them: there is nothing on them."),
        "nearly_constant": (
            "next to nothing on them as the network sees them",
            "Look at them on the sheet, and choose another --intensity if the files themselves are good.",
        ),
        "saturated_white": (
            "more than 10 % of their pixels at the largest value: overexposed, or cut by a window",
            "What was cut off is lost; look for the original files, and mind whether one class has more of it.",
        ),
        "saturated_black": (
            "more than 60 % of their pixels at the least value: large borders, or cut by a window",
            "Crop the borders, or look for the original files.",
        ),
    }
    for name, (what, do) in sentences.items():
        if paths := found[name]:
            verb = "has" if len(paths) == 1 else "have"
            yield f"{_files(len(paths))} {verb} {what}, such as {paths[0]}.", do


def _headers(found: dict[str, Any]) -> Iterator[Finding]:
    for reason, paths in found["passed_over"].items():
        yield (
            f"{_files(len(paths))} will be passed over ({reason}), such as {paths[0]}.",
            "Nothing, if that is right.",
        )
    dicom = found["dicom"]
    if dicom is None:
        return
    if paths := dicom["burned_in"]:
        yield (
            f"{_files(len(paths))} with burnt-in annotation by the header, such as {paths[0]}.",
            "Text in the picture can name the patient or give away the class: mask it, or leave them out.",
        )
    if paths := dicom["lateral"]:
        yield (
            f"{_count(len(paths), 'lateral view')} among the files, such as {paths[0]}.",
            "Leave them out, unless lateral views are what you study.",
        )
    views = {view: count for view, count in dicom["views"].items() if view in ("AP", "PA")}
    if len(views) == 2:
        of_class = "; ".join(
            f"{label or 'no label'} {counts.get('AP', 0)} AP and {counts.get('PA', 0)} PA"
            for label, counts in list(dicom["views_by_class"].items())[:_MOST]
        )
        yield (
            f"AP and PA views are mixed ({of_class}): AP is taken of those who cannot stand, so that "
            "the view can give away the disease.",
            "Compare within one view, or see that every class has both in like shares.",
        )


def _others(found: dict[str, Any]) -> Iterator[Finding]:
    copies = found["copies"]
    if groups := copies["content"]:
        yield (
            f"{_count(len(groups), 'group')} of files with the same content, such as {_and(groups[0])}.",
            "Each is computed once, and copies stay on one side of a split.",
        )
    if groups := copies["pixels"]:
        yield (
            f"{_count(len(groups), 'group')} of files that differ but hold the same pixels, such as "
            f"{_and(groups[0])}.",
            "Remove the copies: only those of the same content are kept on one side of a split.",
        )
    kinds = {entry["kind"] for entry in found["kinds"]}
    if len(kinds) > 1:
        yield (
            f"There are several kinds of files ({_and(sorted(kinds))}), each scaled in a way of its own.",
            "Look at the sheet: all should look alike; --intensity sets one way for all.",
        )
    sizes = found["sizes"]
    if sizes and sizes["long"]:
        yield (
            f"{_files(len(sizes['long']))} more than twice as long as wide, such as {sizes['long'][0]}.",
            "Look at the sheet for what becomes of them.",
        )
    if sizes and sizes["small"]:
        yield (
            f"{_files(len(sizes['small']))} less than half as large as the network's input, such as "
            f"{sizes['small'][0]}.",
            "They are enlarged; look for larger originals.",
        )
    for suffix, paths in found["unknown"].items():
        yield (
            f"{_files(len(paths))} of unknown type {suffix} passed over, such as {paths[0]}.",
            "Nothing, if that is right.",
        )
    if found["unnamed"]:
        yield (
            f"The file of labels does not name {_files(found['unnamed'])}: what DATA says of them stays.",
            "Add them to it, if that is not right.",
        )


def inspection_text(found: dict[str, Any]) -> str:
    """Return what `icehouse inspect` shows."""
    parts = [_head(found), _kinds_table(found), _classes_table(found)]
    if found["ties"]:
        parts.append(_ties_table(found))
    if failures := found["unreadable"]:
        more = f"\n  and {len(failures) - _LISTED} more: --json lists all" if len(failures) > _LISTED else ""
        parts.append(failures_table(failures[:_LISTED]) + more)
    parts.append(_warnings_text(found["warnings"]))
    if found["sheet"]:
        parts.append(f"Contact sheet, as the network sees them: {found['sheet']}")
    return "\n\n".join(parts)


def _head(found: dict[str, Any]) -> str:
    patients = found["patients"]
    lines = [
        f"{found['data']}: {_files(found['files'])}, {found['images']} different images"
        + (f" of {found['frames']} frames" if found["files_with_frames"] else "")
        + f", {len(found['classes'])} classes, {patients['count'] or 'no'} patients known "
        f"(read in {found['seconds']:.0f} s)"
    ]
    if sizes := found["sizes"]:
        width_height = (
            f"{name} {sizes[name][0]}×{sizes[name][1]}" for name in ("smallest", "median", "largest")
        )
        lines.append(f"  sizes (width×height): {', '.join(width_height)}; {sizes['distinct']} different ones")
    if dicom := found["dicom"]:
        for name in ("modalities", "views"):
            counts = {value or "not said": count for value, count in dicom[name].items()}
            lines.append(f"  {name}: {plain_text(counts)}")
    return "\n".join(lines)


def _kinds_table(found: dict[str, Any]) -> str:
    rows = [[k["format"], k["mode"], str(k["bits"]), k["kind"], str(k["files"])] for k in found["kinds"]]
    return text_table("", ["format", "mode", "bits", "kind", "files"], rows)


def _classes_table(found: dict[str, Any]) -> str:
    splits = list(found["splits"])
    rows = [
        [
            label or "(no label)",
            str(own["files"]),
            str(own["read"]),
            str(own["frames"]),
            str(own["patients"] or "–"),
            *(str(found["splits"][split].get(label, 0)) for split in splits),
        ]
        for label, own in found["classes"].items()
    ]
    return text_table("", ["class", "files", "readable", "frames", "patients", *splits], rows)


def _ties_table(found: dict[str, Any]) -> str:
    rows = [
        [
            tie["name"],
            f"{tie['v']:.2f}",
            *(_most_common(tie["by_class"].get(label, {})) for label in _labels(found)),
        ]
        for tie in found["ties"][: 2 * _MOST]
    ]
    return text_table("What goes together with the class", ["", "Cramér's V", *_labels(found)], rows)


def _labels(found: dict[str, Any]) -> list[str]:
    return [label for label in found["classes"] if label][:_MOST]


def _most_common(counts: dict[str, int]) -> str:
    if not counts:
        return "–"
    value, count = next(iter(counts.items()))
    return f"{_shortened(value)} {count / sum(counts.values()):.0%}"


def _warnings_text(warned: Sequence[dict[str, str]]) -> str:
    if not warned:
        return "Nothing to warn of."
    lines = ["Warnings, the most important first"]
    for number, warning in enumerate(warned, start=1):
        head = f"{number:3d}. "
        lines += textwrap.wrap(warning["what"], _WIDTH, initial_indent=head, subsequent_indent=" " * 5)
        lines += textwrap.wrap(warning["do"], _WIDTH, initial_indent="     → ", subsequent_indent=" " * 7)
    return "\n".join(lines)


def _files(count: int) -> str:
    return _count(count, "file")


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _and(names: Sequence[str]) -> str:
    """Return a few names as words; of many, the first three and how many more there are."""
    if len(names) > 4:
        names = [*names[:3], f"{len(names) - 3} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _shortened(text: str, most: int = 28) -> str:
    return text if len(text) <= most else f"{text[: most - 9]}…{text[-8:]}"
