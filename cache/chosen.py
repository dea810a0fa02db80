"""Which frames of a file are taken, as a text: "" for all of them, else such as "12-40,43" or "0-98/2".

The text is canonical: there is one for each choice of frames, and every other one is refused. It is measured
before it is spelt out, so that a hostile one costs no more time or memory than its length warrants.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .layout import MAX_FRAMES, MAX_STRING_BYTES

_NUMBER = r"(0|[1-9][0-9]{0,6})"
_PART = re.compile(rf"{_NUMBER}(?:-{_NUMBER}(?:/{_NUMBER})?)?")
_TEXT = re.compile(rf"{_PART.pattern}(?:,{_PART.pattern})*")
_LEAST = 3
"""So many frames at equal distances make a range."""


def text_of(frames: Sequence[int] | NDArray[np.integer], total: int) -> str:
    """Return the text that stands for some of the `total` frames of a file.

    From the first frame on, the longest run of frames at equal distances becomes a range if it has three frames
    or more; else its first frame stands alone, and the next run begins with the second.

    Raises
    ------
    ValueError
        If there are no frames, if one is not between 0 and `total` − 1, or if the text would be longer than a
        cache can hold.
    """
    _check_total(total)
    numbers = np.unique(np.asarray(frames, dtype=np.int64))
    if not len(numbers) or numbers[0] < 0 or numbers[-1] >= total:
        raise ValueError(f"some of the frames 0 to {total - 1} are expected")
    if len(numbers) == total:
        return ""
    distances = np.diff(numbers)
    # For each frame, where the run of equal distances ends that begins with it.
    ends = np.append(np.flatnonzero(np.diff(distances)) + 1, len(numbers) - 1)
    parts = []
    place = 0
    while place < len(numbers):
        last = int(ends[np.searchsorted(ends, place, side="right")]) if place < len(numbers) - 1 else place
        if last - place + 1 < _LEAST:
            parts.append(str(numbers[place]))
            place += 1
            continue
        step = distances[place]
        parts.append(f"{numbers[place]}-{numbers[last]}" + (f"/{step}" if step > 1 else ""))
        place = last + 1
    text = ",".join(parts)
    if len(text) > MAX_STRING_BYTES:
        raise ValueError(f"the frames chosen are so irregular that a cache cannot note them: {text[:40]}…")
    return text


def ranges_of(text: str, total: int) -> NDArray[np.int64]:
    """Return the frames that `text` stands for without spelling them out: first, last and step, shape (k, 3).

    Raises
    ------
    ValueError
        If it is not what `text_of` writes for some of the `total` frames of a file.
    """
    _check_total(total)
    if not text:
        return np.array([[0, total - 1, 1]])
    if not _TEXT.fullmatch(text):
        raise ValueError(f"{text[:40]!r} names no frames")
    parts = _PART.findall(text)
    ranges = np.array([(int(first), int(last or first), int(step or 1)) for first, last, step in parts])
    alone = np.array([not last for _, last, _ in parts])
    stepped = np.array([step != "" for *_, step in parts])
    if not _is_canonical(ranges, alone, stepped):
        raise ValueError(f"{text[:40]!r} is not how a cache writes frames")
    if ranges[-1, 1] >= total or count_of(ranges) >= total:
        raise ValueError(f"{text[:40]!r} does not stand for some of {total} frames")
    return ranges


def _is_canonical(
    ranges: NDArray[np.int64], alone: NDArray[np.bool_], stepped: NDArray[np.bool_]
) -> np.bool_ | bool:
    """Tell whether ranges are those that `text_of` makes of their frames, and written as it writes them."""
    first, last, step = ranges.T
    if np.any(step < 1 + stepped):
        return False
    long = (last - first >= (_LEAST - 1) * step) & ((last - first) % step == 0)
    distance = first[1:] - last[:-1]
    # What follows the first frame of each part: the next one of its range, or else the next part.
    second = np.where(alone, np.append(first[1:], -1), first + step)
    goes_on = np.where(alone[:-1], second[1:] - first[1:], step[:-1]) == distance
    return np.all(alone | long) and np.all(distance > 0) and not np.any(goes_on)


def count_of(ranges: NDArray[np.int64]) -> int:
    """Return how many frames there are in ranges."""
    first, last, step = ranges.T
    return int(np.sum((last - first) // step + 1))


def frames_of(text: str, total: int) -> NDArray[np.int32]:
    """Return the frames that `text` stands for, ascending, shape (k,).

    Raises
    ------
    ValueError
        If it is not what `text_of` writes for some of the `total` frames of a file.
    """
    ranges = ranges_of(text, total).tolist()
    return np.concatenate([np.arange(first, last + 1, step, dtype=np.int32) for first, last, step in ranges])


def among(frames: NDArray[np.integer], ranges: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of `frames`, shape (k,), lie in ascending ranges."""
    first, last, step = ranges.T
    place = np.maximum(np.searchsorted(first, frames, side="right") - 1, 0)
    within: NDArray[np.bool_] = (frames >= first[place]) & (frames <= last[place])
    within &= (frames - first[place]) % step[place] == 0
    return within


def _check_total(total: int) -> None:
    if not 1 <= total <= MAX_FRAMES:
        raise ValueError(f"a file of {total} frames; one has 1 to {MAX_FRAMES}")
