"""Which rows of the vectors a sample takes: those of its content, its chosen frames and the views asked for.

Samples and rows find each other by content, frame and view, never by position. Nothing here reads files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from . import chosen
from .keys import Keys, contents_in, contents_of, frames_in, views_in
from .layout import MAX_FRAMES
from .samples import DONE, NOT_SELECTED, STATES, Samples


class Rows:
    """The rows of the vectors, and where each content's begin and end once they are sorted.

    Parameters
    ----------
    keys : Keys
        Of each row; see `cache.keys`.
    """

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """The row at each place, sorted by content, then frame, then view."""
        order: NDArray[np.intp] = np.argsort(self.keys, kind="stable")
        return order

    @cached_property
    def content(self) -> NDArray[np.bytes_]:
        """The content at each place."""
        return contents_in(self.keys[self.order])

    @cached_property
    def frame(self) -> NDArray[np.int32]:
        """The frame at each place."""
        return frames_in(self.keys)[self.order]

    @cached_property
    def view(self) -> NDArray[np.int16]:
        """The view at each place."""
        return views_in(self.keys)[self.order]

    def whole_frames(self, views: int) -> NDArray[np.intp]:
        """Return the places of the unaltered views of those frames that have all of `views` views."""
        first: NDArray[np.intp] = np.flatnonzero(self.view == 0)
        first = first[first <= len(self) - views]
        last = first + views - 1  # keys are sorted and unique: what lies between must be the views between
        whole = (self.content[first] == self.content[last]) & (self.frame[first] == self.frame[last])
        whole &= self.view[last] == views - 1
        kept: NDArray[np.intp] = first[whole]
        return kept


@dataclass(frozen=True)
class Alignment:
    """Samples and the rows that they take.

    Parameters
    ----------
    sample, row : ndarray of int, shape (n,)
        The lines of `X`: a chosen frame of a finished sample each, unaltered, by sample, then frame.
    line, further : ndarray of int, shape (m,)
        The further views, by line, then view: the line of `X` that each is a view of, and its row.
    lacking : ndarray of bool, shape (samples,)
        The finished samples that lack a row of a chosen frame; they have no lines.
    """

    sample: NDArray[np.intp]
    row: NDArray[np.intp]
    line: NDArray[np.intp]
    further: NDArray[np.intp]
    lacking: NDArray[np.bool_]


@dataclass(frozen=True)
class Claims:
    """What each sample says that it takes; arrays of one element a sample, as in `Samples`.

    Parameters
    ----------
    content : ndarray of S32
    state, chosen : ndarray of str
    frames : ndarray of int
    views : int
        How many views of each frame are taken.

    Raises
    ------
    ValueError
        If a sample says what no cache does; it says what.
    """

    content: NDArray[np.bytes_]
    state: NDArray[np.str_]
    chosen: NDArray[np.str_]
    frames: NDArray[np.int32]
    views: int

    def __post_init__(self) -> None:
        if len(unknown := np.setdiff1d(self.state, STATES)):
            raise ValueError(f"a sample has the state {str(unknown[0])!r}")
        if len(odd := np.flatnonzero((self.frames < 0) | (self.frames > MAX_FRAMES))):
            raise ValueError(f"a sample has {self.frames[odd[0]]} frames; {MAX_FRAMES} at most")
        if np.any((self.frames == 0) & (self.state == DONE)):
            raise ValueError("a finished sample has no frames")
        some = np.flatnonzero(self.chosen != "")
        try:
            for text, total in set(zip(self.chosen[some].tolist(), self.frames[some].tolist(), strict=True)):
                chosen.ranges_of(text, total)
        except ValueError as error:
            raise ValueError(f"the frames chosen of a sample cannot be read: {error}") from None

    @classmethod
    def of(cls, samples: Samples, views: int) -> Claims:
        """Return the claims of a samples table."""
        return cls(contents_of(samples.content), samples.state, samples.chosen, samples.frames, views)

    def lines(self, rows: Rows) -> int:
        """Return how many rows the samples share out among them, each as often as it is shared."""
        first, after = _spans(rows.content, self.content[self.state != NOT_SELECTED])
        return int(np.sum(after - first))

    def find(self, rows: Rows) -> Alignment:
        """Return the rows of each finished sample; ask first how many `lines` there are."""
        whole = rows.whole_frames(self.views)
        content, frame = rows.content[whole], rows.frame[whole]
        done = np.flatnonzero(self.state == DONE)
        first, after = _spans(content, self.content[done])
        every, count = self.chosen[done] == "", self.frames[done].astype(np.intp)
        # Frames are distinct and sorted: where the last of `count` is number count − 1, all are there.
        lacks = after - first < np.where(every, count, 1)
        last = np.where(lacks | ~every, 0, first + count - 1)
        lacks[every] |= (frame[last] != count - 1)[every] if len(frame) else False
        places: dict[int, NDArray[np.intp]] = {}
        for index in np.flatnonzero(~every & ~lacks).tolist():
            ranges = chosen.ranges_of(str(self.chosen[done[index]]), int(count[index]))
            among = chosen.among(frame[first[index] : after[index]], ranges)
            places[index] = first[index] + np.flatnonzero(among)
            count[index] = chosen.count_of(ranges)
            lacks[index] = len(places[index]) < count[index]
        count[lacks] = 0
        begins = np.cumsum(count) - count
        place = np.arange(int(count.sum())) + np.repeat(first - begins, count)
        for index, found in places.items():
            place[begins[index] : begins[index] + count[index]] = found[: count[index]]
        place = whole[place]
        lacking = np.zeros(len(self.state), dtype=bool)
        lacking[done[lacks]] = True
        further = (place[:, np.newaxis] + np.arange(1, self.views)).ravel()
        return Alignment(
            sample=np.repeat(done, count),
            row=rows.order[place],
            line=np.repeat(np.arange(len(place)), self.views - 1),
            further=rows.order[further],
            lacking=lacking,
        )

    def taken(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which rows some sample takes, shape (rows,); those of all others are spare.

        A sample that is not selected takes none. What a sample takes that is not finished is kept for it: every
        frame of its content while it is unknown how many there are.
        """
        takes = self.state != NOT_SELECTED
        every = takes & (self.chosen == "")
        wanted, inverse = np.unique(self.content[every], return_inverse=True)
        totals = np.zeros(len(wanted), dtype=np.int64)
        np.maximum.at(totals, inverse, np.where(self.frames[every] == 0, 2**31, self.frames[every]))
        contents, frames = contents_in(rows.keys), frames_in(rows.keys)
        taken = np.zeros(len(rows), dtype=bool)
        if len(wanted):
            place = np.minimum(np.searchsorted(wanted, contents), len(wanted) - 1)
            taken = (wanted[place] == contents) & (frames < totals[place])
        for span, ranges in self._chosen_spans(rows, takes & ~every):
            places = span.start + np.flatnonzero(chosen.among(rows.frame[span], ranges))
            taken[rows.order[places]] = True
        return taken & (views_in(rows.keys) < self.views)

    def _chosen_spans(
        self, rows: Rows, samples: NDArray[np.bool_]
    ) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """Yield the places of the content of each of some samples that chose frames, and which those are."""
        if not samples.any():
            return
        firsts, afters = _spans(rows.content, self.content[samples])
        texts, totals = self.chosen[samples].tolist(), self.frames[samples].tolist()
        distinct = set(zip(firsts.tolist(), afters.tolist(), texts, totals, strict=True))
        for first, after, text, total in distinct:
            yield slice(first, after), chosen.ranges_of(text, total)


def _spans(held: NDArray[np.bytes_], wanted: NDArray[np.bytes_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where each wanted content begins among the sorted ones, and where it has ended."""
    return np.searchsorted(held, wanted, "left"), np.searchsorted(held, wanted, "right")
