"""What a bundle's file holds, each thing taken by name together with what it must be.

Nothing read from a file is used in any other way, so that no shape, number or text from a stranger goes
unchecked. That no text is long or could write elsewhere on a terminal, and that nothing is nested deeply, is
seen to in `document`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors

_EXACT = 2**53
"""Whole numbers up to here are the same as floats."""

_PIECE = 1_000_000


class Fields:
    """One JSON object of a bundle's document.

    Parameters
    ----------
    path : Path
        The bundle, for messages.
    name : str
        Where it stands in the document, such as "head"; empty for the document itself.
    values : mapping
    """

    def __init__(self, path: Path, name: str, values: Mapping[str, Any]) -> None:
        self._path, self._name, self._values = path, name, values

    def fault(self, reason: str) -> errors.BundleDamaged:
        """Return the error that says what is wrong here.

        Parameters
        ----------
        reason : str
            A clause, such as "threshold is 7".
        """
        where = f" in {self._name!r}" if self._name else ""
        return _damaged(self._path, reason + where)

    def has(self, name: str) -> bool:
        """Tell whether a field is there and not null."""
        return self._values.get(name) is not None

    def text(self, name: str, choices: Sequence[str] | None = None) -> str:
        """Return a text, one of `choices` where they are given."""
        value = self._values.get(name)
        if not isinstance(value, str):
            raise self._other(name, "a text")
        if choices is not None and value not in choices:
            raise self._other(name, _listed(choices))
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self._values.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._other(name, "a list of texts")
        return tuple(value)

    def number(self, name: str, low: float = -math.inf, high: float = math.inf) -> float:
        """Return a finite number from `low` to `high`."""
        value = self._values.get(name)
        if value is None or not _is_number(value, low, high):
            raise self._other(name, f"a number{_range(low, high)}")
        return float(value)

    def whole(self, name: str, low: int = 0, high: int = 2**31 - 1) -> int:
        """Return a whole number from `low` to `high`."""
        value = self._values.get(name)
        if type(value) is not int or not low <= value <= high:
            raise self._other(name, f"a whole number{_range(low, high)}")
        return value

    def wholes(self, name: str, low: int = 0, high: int = 2**31 - 1) -> tuple[int, ...]:
        """Return a list of whole numbers from `low` to `high`."""
        value = self._values.get(name)
        if not isinstance(value, list) or not all(type(item) is int and low <= item <= high for item in value):
            raise self._other(name, f"a list of whole numbers{_range(low, high)}")
        return tuple(value)

    def truth(self, name: str) -> bool:
        """Return true or false."""
        value = self._values.get(name)
        if not isinstance(value, bool):
            raise self._other(name, "true or false")
        return value

    def names(self) -> tuple[str, ...]:
        """Return the names of all fields, in their order."""
        return tuple(self._values)

    def plain(self, name: str) -> Any:
        """Return a JSON value that is only shown or compared, never computed with; None if it is not there."""
        return self._values.get(name)

    def fields(self, name: str) -> Fields:
        """Return an object within this one."""
        value = self._values.get(name)
        if not isinstance(value, dict):
            raise self._other(name, "an object")
        return Fields(self._path, self._inside(name), value)

    def _inside(self, name: str) -> str:
        return f"{self._name}.{name}" if self._name else name

    def _other(self, name: str, wanted: str) -> errors.BundleDamaged:
        """Return the error for a field that is missing or not what it must be."""
        found = _shown(self._values[name]) if name in self._values else "missing"
        return _damaged(self._path, f"{self._inside(name)} is {found}, where {wanted} is expected")


class Contents(Fields):
    """A bundle's document and arrays, as they were read.

    Parameters
    ----------
    path : Path
    document : mapping
    arrays : mapping of str to ndarray
    """

    def __init__(self, path: Path, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(path, "", document)
        self.path = path
        self.document = document
        self.arrays = arrays

    def has_array(self, name: str) -> bool:
        """Tell whether an array is there."""
        return name in self.arrays

    def array(self, name: str, shape: tuple[int | None, ...], dtype: str = "float32") -> NDArray[Any]:
        """Return an array of a shape, None standing for any length, and of a type; all its floats are finite.

        Raises
        ------
        BundleDamaged
        """
        if name not in self.arrays:
            raise self.fault(f"the array {name} is missing")
        values = self.arrays[name]
        fits = len(values.shape) == len(shape) and all(
            wanted is None or wanted == length for wanted, length in zip(shape, values.shape, strict=True)
        )
        if not fits or values.dtype != np.dtype(dtype):
            raise self.fault(
                f"the array {name} is {values.dtype} of shape {_lengths(values.shape)}, where {dtype} of shape "
                f"{_lengths(shape)} is expected"
            )
        if values.dtype.kind == "f" and not _all_finite(values):
            raise self.fault(f"the array {name} holds numbers that are infinite or none")
        return values


def _damaged(path: Path, reason: str) -> errors.BundleDamaged:
    return errors.BundleDamaged(f"{path}: {reason}; the bundle is damaged or was altered.")


def _is_number(value: Any, low: float, high: float) -> bool:
    """Tell whether a JSON value is a finite number in a range; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return False
    return abs(value) <= _EXACT if isinstance(value, int) else math.isfinite(value)


def _all_finite(values: NDArray[Any]) -> bool:
    """Tell whether all floats are finite, without an array of the answers beside a large one."""
    flat = values.reshape(-1)
    return all(bool(np.isfinite(flat[start : start + _PIECE]).all()) for start in range(0, len(flat), _PIECE))


def _lengths(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if length is None else str(length) for length in shape)})"


def _range(low: float, high: float) -> str:
    if low == -math.inf and high == math.inf:
        return ""
    if high == math.inf:
        return f" from {low:.15g} on"
    return f" up to {high:.15g}" if low == -math.inf else f" from {low:.15g} to {high:.15g}"


def _listed(choices: Sequence[str]) -> str:
    quoted = [repr(choice) for choice in choices]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def _shown(value: Any) -> str:
    """Return the start of a JSON value as its file has it, in ASCII."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)} values"
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
