"""What `icehouse audit` found, as text for the terminal and as the sections of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .audit_figures import similarities
from .audit_pictures import Shown, Thumbnails, gallery, of_pairs
from .parts import Cell, Folded, Part, Section, Table, Words
from .tables import DISCLAIMER, counted

_SHOWN = 5
_ROWS = 500
"""Of a table on a page, at most; JSON has all."""
_FIRST = 12
"""Pictures that are shown without unfolding."""
_PICTURES = 60

_TITLES = {
    "exact_duplicates": "Exact copies",
    "near_duplicates": "Near duplicates",
    "patients_in_several_classes": "Patients in several classes",
    "leaks": "Leaks",
    "label_suspects": "Doubtful labels",
    "outliers": "Outliers",
    "confounding": "What the class goes with",
}
_ABOUT = {
    "exact_duplicates": "Files of the same bytes under several names. icehouse classify keeps them on one "
    "side of a split; where their labels differ, one is wrong.",
    "near_duplicates": "Pictures that are one picture twice (resized, encoded again, cropped, mirrored or "
    "turned), or one patient under two names. Copies within one patient, class and split are no news and not "
    "listed. What is most alike stands first; look at each pair, as the least alike may be chance.",
    "patients_in_several_classes": "They can be right, as diseases come and go; but no split can be "
    "stratified by them, and their pictures resemble each other whatever the class.",
    "leaks": "What stands on both sides of a split, or in both caches: a head that is tested there has seen "
    "the answer.",
    "label_suspects": "A model that has not seen the patient, and most of the nearest images of other "
    "patients, say another class. It is for a reader to say which is right.",
    "outliers": "Far from the images of all other patients: another kind of picture, another body part, or a "
    "failure of decoding. They do not count for --strict.",
    "confounding": "What else goes with the class, and whether the vectors tell it: then a head may recognize "
    "that in place of the disease.",
}


def audit_text(document: dict[str, Any]) -> str:
    """Return what `icehouse audit` shows: what was found, and the first few of each kind.

    Parameters
    ----------
    document : dict
        As `auditing.audit_cache` returns it.
    """
    lines = [_headline(document), ""]
    for name, title in _TITLES.items():
        found = document[name]
        alarms = document["found"].get(name, len(found))
        lines.append(f"{title}: {_count(name, document) if found else 'none'}")
        shown = [one for one in found if one["alarm"]] if name == "confounding" else found
        lines += [f"  {_line(name, one)}" for one in shown[:_SHOWN]]
        if len(shown) > _SHOWN:
            lines.append(f"  and {len(shown) - _SHOWN:,} more: --json lists all")
        if name == "label_suspects" and found:
            lines.append(f"  {_how_hard(document)}")
        if name == "confounding" and found and not alarms:
            lines.append("  nothing that casts doubt on scores")
    if document["groups"]:
        lines.append(f"These may be one patient each: {counted(len(document['groups']), 'group')}")
        lines += [f"  {_paths(group['samples'])}" for group in document["groups"][:_SHOWN]]
    lines += [f"Note: {text}" for text in document["notes"]]
    return "\n".join([*lines, DISCLAIMER])


def _headline(document: dict[str, Any]) -> str:
    patients = f" of {counted(document['patients'], 'patient')}" if document["patients"] else ""
    against = f" against {document['against']}" if document["against"] else ""
    return (
        f"{document['cache']}{against}: {counted(document['frames'], 'frame')}{patients}, layer "
        f"{document['layer']}, {document['seconds']:.1f} s"
    )


def _count(name: str, document: dict[str, Any]) -> str:
    found = document[name]
    if name == "confounding":
        return f"{document['found'][name]} of {counted(len(found), 'column')} in alarm"
    if name == "exact_duplicates":
        files = sum(len(group["samples"]) for group in found)
        differ = sum(group["labels_differ"] for group in found)
        return f"{counted(len(found), 'group')} of {files:,} files" + (
            f", {differ} of several labels" if differ else ""
        )
    if name == "near_duplicates":
        differ = sum(pair["labels_differ"] for pair in found)
        return counted(len(found), "pair") + (f", {differ} of two labels" if differ else "")
    return f"{len(found):,}"


def _line(name: str, one: dict[str, Any]) -> str:
    """Return one finding in one line."""
    if name == "exact_duplicates":
        return _paths(one["samples"])
    if name == "near_duplicates":
        return f"{one['a']} and {one['b']}: {_alike(one)}{_differing(one)}"
    if name == "patients_in_several_classes":
        counts = ", ".join(f"{len(paths)} {label}" for label, paths in one["labels"].items())
        return f"{one['patient']}: {counts}"
    if name == "leaks":
        return f"{one['kind']}, {' and '.join(one['between'])}: {_leaking(one)}"
    if name == "label_suspects":
        return f"{_named(one)}: {one['label']}, rather {one['suggested']} ({_doubt(one)})"
    if name == "outliers":
        return f"{_named(one)}: {one['times']:.1f} times as far as usual"
    return str(one["verdict"])


def _doubt(one: dict[str, Any]) -> str:
    return f"{one['of_suggested']:.2f} against {one['probability']:.2f}"


def _leaking(one: dict[str, Any]) -> str:
    if one["kind"] == "patient":
        return str(one["patient"])
    return _paths(one["samples"]) if one["kind"] == "content" else f"{one['a']} and {one['b']}"


def _named(one: dict[str, Any]) -> str:
    return f"{one['path']}, frame {one['frame']}" if one["frame"] else str(one["path"])


def _paths(samples: Sequence[dict[str, Any]]) -> str:
    texts = [f"{_named(one)}" + (f" ({one['label']})" if one["label"] else "") for one in samples[:3]]
    more = f" and {len(samples) - 3} more" if len(samples) > 3 else ""
    return ", ".join(texts) + more


def _alike(pair: dict[str, Any]) -> str:
    parts = [f"{name} {pair[name]:.2f}" for name in ("vectors", "pixels") if pair[name] is not None]
    way = f", {pair['way']}" if pair["way"] not in (None, "same") else ""
    return ", ".join(parts) + way


def _differing(pair: dict[str, Any]) -> str:
    texts = [f"; labels {' and '.join(pair['labels'])}"] if pair["labels_differ"] else []
    texts += [f"; splits {' and '.join(pair['splits'])}"] if pair["splits_differ"] else []
    return "".join(texts)


def _how_hard(document: dict[str, Any]) -> str:
    accuracy = document["label_model"]["balanced_accuracy"]
    return (
        f"the model that doubts them has a balanced accuracy of {accuracy:.2f}: the lower it is, the more of "
        "these are hard images and not wrong labels"
    )


def sections(document: dict[str, Any], thumbnails: Thumbnails) -> tuple[Section, ...]:
    """Return the audit's page, most of all with the pictures that are to be judged by eye.

    Parameters
    ----------
    document : dict
        As `auditing.audit_cache` returns it.
    thumbnails : callable
        Returns pictures of frames (see `audit_pictures`), of those that it can.
    """
    parts: list[Section] = [Section("What was found", _overview(document))]
    for name, title in _TITLES.items():
        if document[name]:
            parts.append(Section(title, (Words(_ABOUT[name]), *_MAKERS[name](document, thumbnails))))
    if document["groups"]:
        parts.append(Section("May be one patient", _groups(document, thumbnails)))
    parts.append(Section("How it was judged", _thresholds(document)))
    return tuple(parts)


def _overview(document: dict[str, Any]) -> tuple[Part, ...]:
    rows = []
    for name, title in _TITLES.items():
        number = document["found"].get(name, len(document[name]))
        strict = "yes" if name in document["found"] else "no"
        rows.append((title, Cell(f"{number:,}", number, alarm=bool(number) and strict == "yes"), strict))
    return (
        Words(_headline(document)),
        Table("Findings", ("Finding", "How many", "Counts for --strict"), tuple(rows)),
        *(Words(text, "note") for text in document["notes"]),
    )


def _table(
    caption: str, headings: tuple[str, ...], rows: Sequence[tuple[str | Cell, ...]], found: int
) -> Table:
    more = f"; the first {len(rows):,} of {found:,}" if found > len(rows) else ""
    return Table(caption + more, headings, tuple(rows))


def _exact(document: dict[str, Any], thumbnails: Thumbnails) -> tuple[Part, ...]:
    found = document["exact_duplicates"]
    rows = [
        (
            ", ".join(_named(one) for one in group["samples"]),
            Cell(", ".join(sorted({one["label"] for one in group["samples"]})), alarm=group["labels_differ"]),
            Cell(
                ", ".join(sorted({one["patient"] for one in group["samples"]})), alarm=group["patients_differ"]
            ),
            Cell(", ".join(sorted({one["split"] for one in group["samples"]})), alarm=group["splits_differ"]),
        )
        for group in found[:_ROWS]
    ]
    return (_table("Groups of exact copies", ("Files", "Labels", "Patients", "Splits"), rows, len(found)),)


def _near(document: dict[str, Any], thumbnails: Thumbnails) -> tuple[Part, ...]:
    found = document["near_duplicates"]
    pairs = [
        (
            (Shown(False, one["a"], one["frames"][0]), Shown(one["against"], one["b"], one["frames"][1])),
            "\n".join([one["a"], one["b"], _alike(one) + _differing(one)]),
        )
        for one in found[:_PICTURES]
    ]
    rows = [
        (
            one["a"],
            one["b"],
            *(_score(one[name]) for name in ("vectors", "pixels")),
            one["way"] or "",
            Cell(" / ".join(one["labels"]), alarm=one["labels_differ"]),
            " / ".join(one["patients"]),
            Cell(" / ".join(one["splits"]), alarm=one["splits_differ"]),
        )
        for one in found[:_ROWS]
    ]
    headings = ("One", "The other", "Vectors", "Pixels", "How it lies", "Labels", "Patients", "Splits")
    return (
        *of_pairs("Pairs, the most alike first", pairs, thumbnails),
        Folded("All of them", (_table("Near duplicates", headings, rows, len(found)),)),
    )


def _score(value: float | None) -> Cell:
    return Cell("–" if value is None else f"{value:.4f}", value)


def _patients(document: dict[str, Any], thumbnails: Thumbnails) -> tuple[Part, ...]:
    found = document["patients_in_several_classes"]
    rows = [
        (
            one["patient"],
            ", ".join(f"{label} {len(paths)}" for label, paths in one["labels"].items()),
            ", ".join(path for paths in one["labels"].values() for path in paths[:_SHOWN]),
        )
        for one in found[:_ROWS]
    ]
    caption = "Patients in several classes"
    return (_table(caption, ("Patient", "Classes", f"Files, {_SHOWN} a class at most"), rows, len(found)),)


def _leaks(document: dict[str, Any], thumbnails: Thumbnails) -> tuple[Part, ...]:
    found = document["leaks"]
    rows = [(one["kind"], " and ".join(one["between"]), _leaking(one)) for one in found[:_ROWS]]
    return (_table("Leaks", ("Kind", "Between", "What"), rows, len(found)),)


def _suspects(document: dict[str, Any], thumbnails: Thumbnails) -> tuple[Part, ...]:
    found = document["label_suspects"]
    rows = [
        (
            _named(one),
            one["label"],
            one["suggested"],
            *(_score(one[name]) for name in ("of_suggested", "probability", "neighbours")),
            one["patient"],
        )
        for one in found[:_ROWS]
    ]
    headings = ("File", "Label", "Rather", "Probability of that", "of the label", "Neighbours", "Patient")
    singles = [
        (_shown(one), f"{_named(one)}\n{one['label']}, rather {one['suggested']}\n{_doubt(one)}")
        for one in found[:_PICTURES]
    ]
    rest = gallery("The next ones", singles[_FIRST:], thumbnails) if len(singles) > _FIRST else ()
    return (
        Words(f"Here {_how_hard(document)}.", "note"),
        *gallery("The most doubtful first", singles[:_FIRST], thumbnails),
        *([Folded(f"{len(singles) - _FIRST} more", rest)] if rest else []),
        Folded("All of them", (_table("Doubtful labels", headings, rows, len(found)),)),
    )


def _outliers(document: dict[str, Any], thumbnails: Thumbnails) -> tuple[Part, ...]:
    found = document["outliers"]
    rows = [
        (_named(one), one["label"], one["patient"], _score(one["times"]), one["nearest"])
        for one in found[:_ROWS]
    ]
    headings = ("File", "Label", "Patient", "Times the usual distance", "Nearest file")
    singles = [
        (_shown(one), f"{_named(one)}\n{_line('outliers', one).rpartition(': ')[2]}")
        for one in found[:_PICTURES]
    ]
    return (
        *gallery("The farthest first", singles, thumbnails),
        Folded("All of them", (_table("Outliers", headings, rows, len(found)),)),
    )


def _shown(one: dict[str, Any]) -> Shown:
    return Shown(one["against"], one["path"], one["frame"])


def _origins(document: dict[str, Any], thumbnails: Thumbnails) -> tuple[Part, ...]:
    found = document["confounding"]
    rows = [
        (
            one["column"],
            Cell(f"{one['class_association']:.2f}", one["class_association"], alarm=one["alarm"]),
            one["class"] or "all",
            _score(one["roc_auc"]),
            _score(one["within_class_auc"]),
        )
        for one in found
    ]
    headings = ("Column", "Cramér's V with the class", "Class", "ROC-AUC of the vectors", "Within one class")
    told = "\n\n".join(one["verdict"] for one in found if one["alarm"])
    alarms = [Words(told, "alarm")] if told else []
    return (*alarms, Table("Columns that may stand for an origin", headings, tuple(rows)))


def _groups(document: dict[str, Any], thumbnails: Thumbnails) -> tuple[Part, ...]:
    found = document["groups"]
    rows = [
        (", ".join(_named(one) for one in group["samples"]), _score(group["least"])) for group in found[:_ROWS]
    ]
    return (
        Words(
            "Near duplicates of which not all patients are known. If a group is one patient, say so in the "
            "column patient; vectors are not computed again."
        ),
        _table("Groups", ("Files", "Least similarity to the first"), rows, len(found)),
    )


def _thresholds(document: dict[str, Any]) -> tuple[Part, ...]:
    found = document["thresholds"]
    words = [f"Compared: {found['pairs']:,} pairs."]
    for name in ("vectors", "pixels"):
        if found[name] is None:
            words.append(f"By {name} nothing was compared: the notes say why.")
            continue
        expected = found.get(f"{name}_expected_false")
        about = (
            "fixed, as there are too few pairs to find one by"
            if expected is None
            else f"beyond which about {expected:.2g} of the pairs of different patients are expected, by the "
            "tail of their own distribution"
        )
        words.append(f"Threshold of the {name}: a cosine of {found[name]:.2f}, {about}.")
    if found["confirmed_by_pixels"] is not None:
        words.append(f"What vectors say is confirmed by pixels from {found['confirmed_by_pixels']:.2f} on.")
    words.append(
        f"{document['neighbours_within_patients']:,} near duplicates within one patient are not listed."
    )
    return (Words("\n\n".join(words)), *similarities(document))


_MAKERS = {
    "exact_duplicates": _exact,
    "near_duplicates": _near,
    "patients_in_several_classes": _patients,
    "leaks": _leaks,
    "label_suspects": _suspects,
    "outliers": _outliers,
    "confounding": _origins,
}
