"""The samples table: one row for each line of the manifest, and the states a sample can be in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .csv_table import Table

DONE = "done"
PENDING = "pending"
FAILED = "failed"
NOT_SELECTED = "not-selected"
STATES = (DONE, PENDING, FAILED, NOT_SELECTED)

TEXTS = ("path", "label", "patient", "split", "state", "format", "mode", "kind", "chosen")
_SAID = ("label", "patient", "split")
NUMBERS = ("width", "height", "bits", "frames")


@dataclass(frozen=True)
class Samples:
    """The samples of a cache, column by column; every array has one element (or row) per sample.

    Parameters
    ----------
    path : ndarray of str, shape (n,)
        As the manifest names it, or relative to the folder.
    label, patient, split : ndarray of str, shape (n,)
        Empty where unknown.
    content : ndarray of uint8, shape (n, 32)
        SHA-256 of the file's bytes; zeros while it is unknown.
    state : ndarray of str, shape (n,)
        One of `STATES`.
    format, mode : ndarray of str, shape (n,)
        File format and colour mode, such as "PNG" and "RGBA".
    kind : ndarray of str, shape (n,)
        Which policy of intensity its pictures got: "8-bit", "x-ray", "ct" or "other"; empty while unknown.
    chosen : ndarray of str, shape (n,)
        Which of its frames are taken, as `cache.chosen` writes them: "12-40,43"; empty for all of them.
    width, height, bits : ndarray of int32, shape (n,)
        Pixels, pixels, and bits per channel; 0 while unknown.
    frames : ndarray of int32, shape (n,)
        How many frames the file has; 0 while unknown.
    columns : dict of str to ndarray of str
        The manifest's further columns.
    """

    path: NDArray[np.str_]
    label: NDArray[np.str_]
    patient: NDArray[np.str_]
    split: NDArray[np.str_]
    content: NDArray[np.uint8]
    state: NDArray[np.str_]
    format: NDArray[np.str_]
    mode: NDArray[np.str_]
    kind: NDArray[np.str_]
    chosen: NDArray[np.str_]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    bits: NDArray[np.int32]
    frames: NDArray[np.int32]
    columns: dict[str, NDArray[np.str_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.path)

    def as_dict(self) -> dict[str, NDArray[Any]]:
        """Return every column by name, content as hexadecimal: ready for `pandas.DataFrame`.

        A column of the user's own that is called like one of these gets `manifest_` before its name.
        """
        table: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in TEXTS + NUMBERS}
        table["content"] = np.array([row.tobytes().hex() for row in self.content], dtype="U64")
        own = {f"manifest_{name}" if name in table else name: column for name, column in self.columns.items()}
        return {**table, **own}

    def relabelled(self, table: Table) -> tuple[Samples, int]:
        """Return the samples with what `table` says of them, by path, and how many of them it does not name.

        Those keep what they had.

        Raises
        ------
        SourceError
            If `table` names none of the samples.
        """
        given = table.by_path()
        rows = [given.get(path, {}) for path in self.path.tolist()]
        if not any(rows):
            raise errors.SourceError(
                f"{table.path} names none of the {len(self)} samples, such as {self.path[0]}."
            )
        nothing = np.full(len(self), "")
        columns: dict[str, Any] = {}
        for name in table.header:
            if name != "path":
                before = getattr(self, name) if name in _SAID else self.columns.get(name, nothing)
                texts = [row.get(name, text) for row, text in zip(rows, before.tolist(), strict=True)]
                columns[name] = np.array(texts, dtype=np.str_)
        own = {**self.columns, **{name: columns.pop(name) for name in [*columns] if name not in _SAID}}
        return replace(self, columns=own, **columns), rows.count({})

    def equals(self, other: Samples) -> bool:
        """Tell whether both tables hold the same rows in the same order."""
        names = (*TEXTS, *NUMBERS, "content")
        return (
            all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)
            and list(self.columns) == list(other.columns)
            and all(np.array_equal(self.columns[k], other.columns[k]) for k in self.columns)
        )


@dataclass(frozen=True)
class Failure:
    """One image that did not become a vector: which, at what stage, and why."""

    path: str
    stage: str
    reason: str


def of_failed(failures: Iterable[Failure], samples: Samples) -> list[Failure]:
    """Return the failures of those samples that have failed."""
    failed = set(samples.path[samples.state == FAILED].tolist())
    return [failure for failure in failures if failure.path in failed]


def failure(path: str, stage: str, reason: str) -> Failure:
    """Return a failure whose reason a cache can hold: in one line, of reasonable length."""
    words = "".join(character if character.isprintable() else " " for character in reason)
    return Failure(path, stage, " ".join(words.split())[:500])
