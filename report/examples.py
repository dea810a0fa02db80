"""Which images of a run are worth looking at: those that heads are sure and unsure of, and those often wrong.

Pictures and heat maps of them are made elsewhere (`gallery`) and put into the sections here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..classify.runs import Record
from ..classify.stored import StoredRun
from .judged import Judged
from .parts import Cell, Folded, Gallery, Part, Picture, Section, Table, Words
from .tables import counted

EXAMPLES = 4
"""Images of each kind that are shown of each head."""
_WRONG_SHOWN = 30
_RIGHT, _WRONG, _UNSURE = KINDS = ("right", "wrong", "unsure")
_TITLES = {
    _RIGHT: "Most confident and right",
    _WRONG: "Most confident and wrong",
    _UNSURE: "Least sure",
}


@dataclass(frozen=True)
class Verdict:
    """What a head said of the images that it was tested on, over all rounds; k of them.

    Parameters
    ----------
    rows : ndarray of int, shape (k,)
        Which they are, as the run counts them.
    rounds, wrong : ndarray of int, shape (k,)
        In how many rounds each was tested, and in how many of them its class was another than predicted.
    scores : ndarray of float, shape (k, n_classes)
        The mean over these rounds.
    probabilities : bool
        Whether scores are probabilities; decision values if not.
    """

    rows: NDArray[np.int64]
    rounds: NDArray[np.int64]
    wrong: NDArray[np.int64]
    scores: NDArray[np.float64]
    probabilities: bool

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class of the highest mean score, shape (k,)."""
        return np.asarray(self.scores.argmax(axis=1))

    def of_class(self, classes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the mean score of one class of each image; of decision values, that above the best other."""
        row = np.arange(len(self.rows))
        own = self.scores[row, classes]
        if self.probabilities:
            return np.asarray(own)
        others = self.scores.copy()
        others[row, classes] = -np.inf
        return np.asarray(own - others.max(axis=1))


class Example(NamedTuple):
    """One image of one head.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    place : int
        Where it stands in the head's `Verdict`.
    row : int
        Which it is, as the run counts.
    predicted : int
        Index into the classes.
    """

    kind: str
    place: int
    row: int
    predicted: int


class Shown(NamedTuple):
    """A picture of an example, as the bytes of a file, and what is said of its heat map."""

    data: bytes
    heat: str = ""


def truths(run: StoredRun) -> NDArray[np.int64]:
    """Return the class of each row of a run, as an index into its classes."""
    index = {name: number for number, name in enumerate(run.plan["classes"])}
    return np.array([index[label] for label in run.label.tolist()], dtype=np.int64)


def verdict(records: Sequence[Record], truth: NDArray[np.int64]) -> Verdict:
    """Return what a head's rounds say of each image that any of them tested."""
    rows = np.unique(np.concatenate([record.rows for record in records]))
    rounds, wrong = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    scores = np.zeros((len(rows), records[0].scores.shape[1]))
    for record in records:
        place = np.searchsorted(rows, record.rows)
        rounds[place] += 1
        wrong[place] += record.predicted != truth[record.rows]
        scores[place] += record.scores
    probabilities = records[0].judgement.values["loss"] is not None
    return Verdict(rows, rounds, wrong, scores / rounds[:, np.newaxis], probabilities)


def examples(said: Verdict, truth: NDArray[np.int64], group: NDArray[np.int64]) -> list[Example]:
    """Return the images that a head is surest of, right and wrong, and least sure of: a few of each kind.

    Of one group (a patient, the copies of an image) no more than one is taken of each kind, none twice.

    Parameters
    ----------
    said : Verdict
    truth, group : ndarray of int
        Of each row of the run.
    """
    true, predicted = truth[said.rows], said.predicted
    sure = said.of_class(predicted)
    ranked = np.sort(said.scores, axis=1)
    gap = ranked[:, -1] - ranked[:, -2]
    found: list[Example] = []
    taken: set[int] = set()
    for kind, among, order in (
        (_RIGHT, predicted == true, -sure),
        (_WRONG, predicted != true, -sure),
        (_UNSURE, np.ones(len(true), dtype=bool), gap),
    ):
        groups: set[int] = set()
        # Of equal ones, those that were tested more often come first.
        for place in np.lexsort((said.rows, -said.rounds, order)).tolist():
            row = int(said.rows[place])
            if among[place] and row not in taken and int(group[row]) not in groups:
                found.append(Example(kind, place, row, int(predicted[place])))
                groups.add(int(group[row]))
                taken.add(row)
            if len(groups) == EXAMPLES:
                break
    return found


def examples_section(
    judged: Judged,
    verdicts: Mapping[str, Verdict],
    chosen: Mapping[str, Sequence[Example]],
    names: Mapping[int, str],
    shown: Mapping[tuple[str, int], Shown],
    notes: Sequence[str],
    head_notes: Mapping[str, str],
) -> Section:
    """Return the galleries of all heads.

    Parameters
    ----------
    judged : Judged
    verdicts, chosen : mapping
        By head.
    names : mapping
        Path and frame, by row; as the run has them where one is not there.
    shown : mapping
        Pictures by head and row; without any, tables stand in the galleries' place.
    notes : sequence of str
        What is to be said first, such as why there are no heat maps.
    head_notes : mapping
        The same for single heads.
    """
    about = (
        "Each image was tested in one round or several, by heads that had not seen it; what they said is "
        "averaged. Of a patient, no more than one image of each kind is shown."
    )
    truth = truths(judged.stored)
    parts: list[Part] = [Words(about), *(Words(text, "note") for text in notes)]
    for number, (head, of_head) in enumerate(chosen.items()):
        said = verdicts[head]
        within: list[Part] = [Words(head_notes[head], "note")] if head in head_notes else []
        for kind in KINDS:
            told = [_told(judged, said, truth, each, names) for each in of_head if each.kind == kind]
            pictures = [shown.get((head, each.row)) for each in of_head if each.kind == kind]
            within.append(_gallery(_TITLES[kind], told, pictures, said.probabilities))
        parts.append(Folded(head, tuple(within), opened=number == 0))
    return Section("Images, right and wrong", tuple(parts))


class _Told(NamedTuple):
    """What is said of an example in words."""

    name: str
    true: str
    predicted: str
    score: str
    of_class: float
    rounds: int


def _told(
    judged: Judged, said: Verdict, truth: NDArray[np.int64], example: Example, names: Mapping[int, str]
) -> _Told:
    classes = judged.document["classes"]
    return _Told(
        name=names.get(example.row, _plain_name(judged.stored, example.row)),
        true=classes[truth[example.row]],
        predicted=classes[example.predicted],
        score=_score(said, example, int(truth[example.row]), classes),
        of_class=float(said.scores[example.place, truth[example.row]]),
        rounds=int(said.rounds[example.place]),
    )


def _score(said: Verdict, example: Example, true: int, classes: Sequence[str]) -> str:
    """Return the scores that make an example one: of the class predicted, of the true one, of the next."""
    scores = said.scores[example.place]
    order = np.argsort(-scores, kind="stable").tolist()
    told = {example.predicted, true} | ({order[1]} if example.kind == _UNSURE else set())
    values = ", ".join(f"{classes[index]} {scores[index]:.4f}" for index in order if index in told)
    return f"{'probability' if said.probabilities else 'decision value'}: {values}"


def _gallery(
    title: str, told: Sequence[_Told], pictures: Sequence[Shown | None], probabilities: bool
) -> Words | Gallery | Table:
    if not told:
        return Words(f"{title}: none.")
    if None in pictures:
        what = "probability" if probabilities else "decision value"
        headings = ("image", "class", "predicted", f"{what} of its class", "rounds")
        rows = tuple(
            (
                one.name,
                one.true,
                one.predicted,
                Cell(f"{one.of_class:.4f}", one.of_class),
                Cell(str(one.rounds), one.rounds),
            )
            for one in told
        )
        return Table(title, headings, rows)
    shown = [picture for picture in pictures if picture is not None]
    return Gallery(title, tuple(_picture(one, each) for one, each in zip(told, shown, strict=True)))


def _picture(told: _Told, shown: Shown) -> Picture:
    right = told.true == told.predicted
    answer = f"{told.true}, rightly predicted" if right else f"{told.true}, predicted {told.predicted}"
    over = f"mean of {counted(told.rounds, 'round')}" if told.rounds > 1 else "in one round"
    heat = f"; beside it, the {shown.heat}" if shown.heat else ""
    lines = [told.name, answer, f"{told.score}; {over}", *([shown.heat] if shown.heat else [])]
    return Picture(alt=f"{told.name}: {answer}{heat}", data=shown.data, caption="\n".join(lines))


def wrong_section(
    judged: Judged,
    verdicts: Mapping[str, Verdict],
    truth: NDArray[np.int64],
    names: Mapping[int, str] | None = None,
) -> Section:
    """Return the images that heads get wrong most often, over all heads and rounds; and patients, if judged.

    Parameters
    ----------
    judged : Judged
    verdicts : mapping of str to Verdict
        By head.
    truth : ndarray of int
        Of each row of the run.
    names : mapping, optional
        Path and frame, by row; the path alone where it is not there.
    """
    count, classes = len(truth), list(judged.document["classes"])
    rounds, wrong = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    against, asked = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    votes = np.zeros((count, len(classes)), dtype=np.int64)
    probability, told = np.zeros(count), np.zeros(count, dtype=np.int64)
    for said in verdicts.values():
        rounds[said.rows] += said.rounds
        wrong[said.rows] += said.wrong
        asked[said.rows] += 1
        against[said.rows] += said.predicted != truth[said.rows]
        votes[said.rows, said.predicted] += 1
        if said.probabilities:
            probability[said.rows] += said.of_class(truth[said.rows])
            told[said.rows] += 1
    mean = np.divide(probability, told, out=np.full(count, np.nan), where=told > 0)
    share = np.divide(wrong, rounds, out=np.zeros(count), where=rounds > 0)
    order = np.lexsort((np.arange(count), np.nan_to_num(mean, nan=1.0), -against, -share))
    rows = [row for row in order.tolist() if wrong[row]]
    parts: list[Part] = []
    if not rows:
        parts.append(Words("No head was wrong about any image."))
    else:
        parts.append(
            Words(
                "An image that every head gets wrong in every round may have a wrong label, or show something "
                "else than its class usually does: look at it."
            )
        )
        lines = []
        for row in rows[:_WRONG_SHOWN]:
            most = classes[int(votes[row].argmax())]
            known = bool(told[row])
            lines.append(
                (
                    (names or {}).get(row, _plain_name(judged.stored, row)),
                    str(judged.stored.label[row]),
                    most,
                    Cell(f"{mean[row]:.4f}" if known else "–", float(mean[row]) if known else None),
                    Cell(f"{wrong[row]} of {rounds[row]}", float(share[row])),
                    Cell(f"{against[row]} of {asked[row]}", float(against[row] / asked[row])),
                )
            )
        first = f"the first {_WRONG_SHOWN} of " if len(rows) > _WRONG_SHOWN else ""
        headings = (
            "image",
            "class",
            "most heads say",
            "mean probability of its class",
            "wrong in",
            "heads against it",
        )
        caption = (
            f"{first}{counted(len(rows), 'image')} that a head was wrong about; wrong in: rounds of all heads"
        )
        parts.append(Table(caption[0].upper() + caption[1:], headings, tuple(lines)))
    if judged.document["by"] is not None:
        parts.append(_units(judged))
    return Section("Most often wrong", tuple(parts))


def _plain_name(run: StoredRun, row: int) -> str:
    frame = int(run.frame[row])
    return f"{run.file[row]}, frame {frame + 1}" if frame else str(run.file[row])


@dataclass
class _Unit:
    """What is counted of a patient: judgements, those that were wrong, and how often each class was said."""

    label: str = ""
    rounds: int = 0
    wrong: int = 0
    slices: int = 0
    said: Counter[str] = field(default_factory=Counter)


def _units(judged: Judged) -> Part:
    """Return the patients (or other units) that heads get wrong most often, out of the run's units.csv."""
    noun = "patient" if judged.document["by"]["column"] == "patient" else judged.document["by"]["column"]
    try:
        units = _counted_units(judged.stored.table_of_units())
    except errors.RunError as error:
        return Words(f"{error} Nothing can be said of each {noun}.", "note")
    wrong = sorted(
        (name for name, unit in units.items() if unit.wrong),
        key=lambda name: (-units[name].wrong / units[name].rounds, -units[name].wrong, name),
    )
    if not wrong:
        return Words(f"No head was wrong about any {noun}.")
    lines = []
    for name in wrong[:_WRONG_SHOWN]:
        unit = units[name]
        lines.append(
            (
                name,
                unit.label,
                max(sorted(unit.said), key=lambda said: unit.said[said]),
                Cell(f"{unit.wrong} of {unit.rounds}", unit.wrong / unit.rounds),
                Cell(str(unit.slices), unit.slices),
            )
        )
    first = f"The first {_WRONG_SHOWN} of " if len(wrong) > _WRONG_SHOWN else ""
    caption = f"{first}{counted(len(wrong), noun)} that a head was wrong about; wrong in: rounds of all heads"
    return Table(caption, (noun, "class", "most often predicted", "wrong in", "images"), tuple(lines))


def _counted_units(lines: Sequence[Mapping[str, str]]) -> dict[str, _Unit]:
    units: defaultdict[str, _Unit] = defaultdict(_Unit)
    for row in lines:
        if row["label"] and row["predicted"]:  # those of several labels, and the undecided, are not judged
            unit = units[row["unit"]]
            unit.label, unit.slices = row["label"], int(row["slices"])
            unit.rounds += 1
            unit.wrong += row["predicted"] != row["label"]
            unit.said[row["predicted"]] += 1
    return dict(units)
