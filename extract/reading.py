"""What the decoding threads do: from a file to the frames and views that its vectors are computed of."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from .. import errors
from ..cache.keys import key_of
from . import frames
from .clock import Clock
from .decode import Frame, Preparation, open_image
from .guard import guarded
from .knowledge import Knowledge
from .picture import Facts, Opened

VIEWS_AT_ONCE = 8
"""The most views of one frame that are prepared together."""


@dataclass(frozen=True)
class Ready:
    """One view of one frame, ready for the network.

    Parameters
    ----------
    number, view : int
    frame : Frame
    seconds : float
        What preparing it took beside what reading its file did.
    """

    number: int
    view: int
    frame: Frame
    seconds: float = 0.0


class Piece(NamedTuple):
    """Some views of one frame that have no vector yet: few, so that they can be held at once."""

    number: int
    views: tuple[int, ...]


@dataclass(frozen=True)
class Read:
    """What reading one file gave.

    Parameters
    ----------
    content : bytes or None
        SHA-256 of its bytes; None if it could not be read.
    facts : Facts or None
        None if its vectors are known, or it failed.
    opened : Opened or None
        Likewise.
    chosen : tuple of int
        The frames that are taken of it.
    wanted : tuple of Piece
        What of them has no vector yet.
    ready : tuple of Ready
        What was prepared at once: all that is wanted, where that is one piece.
    failure : ImageError or None
    seconds : float
        What all of this took in its thread.
    """

    content: bytes | None
    facts: Facts | None = None
    opened: Opened | None = None
    chosen: tuple[int, ...] = ()
    wanted: tuple[Piece, ...] = ()
    ready: tuple[Ready, ...] = ()
    failure: errors.ImageError | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Reader:
    """Reads files as one extraction wants them; threads may use it side by side.

    Parameters
    ----------
    preparation : Preparation
    rule : frames.Rule
    views : int
    knowledge : Knowledge
        The files that need no computing.
    clock : Clock
    """

    preparation: Preparation
    rule: frames.Rule
    views: int
    knowledge: Knowledge
    clock: Clock

    def read(self, file: Path) -> Read:
        """Read a file, and open it unless its vectors are known; prepare its frame if it has only one."""
        began = time.perf_counter()
        read = self._read(file)
        return replace(read, seconds=time.perf_counter() - began)

    def _read(self, file: Path) -> Read:
        content = None
        try:
            data = read_bytes(file)
            content = hashlib.sha256(data).digest()
            if content in self.knowledge.files:
                return Read(content)
            started = time.perf_counter()
            opened = open_image(data)
            chosen = _chosen(self.rule, opened)
            wanted = tuple(piece for number in chosen for piece in self._missing(content, number))
            read = Read(content, opened.facts, opened, chosen, wanted)
            if opened.facts.frames == 1 and len(wanted) == 1:
                read = Read(content, opened.facts, opened, chosen, (), self._views(read, wanted[0]))
            self.clock.add("decode", started)
            return read
        except errors.ImageError as failure:
            return Read(content, failure=failure)

    def prepare(self, read: Read, piece: Piece) -> tuple[Ready, ...]:
        """Return some views of one of a file's frames.

        Raises
        ------
        ImageError
            Its reason names the frame.
        """
        started = time.perf_counter()
        try:
            views = self._views(read, piece)
            share = (time.perf_counter() - started) / len(views)
            return tuple(replace(ready, seconds=share) for ready in views)
        except errors.ImageError as failure:
            raise errors.ImageError(failure.stage, f"frame {piece.number}: {failure.reason}") from None
        finally:
            self.clock.add("decode", started)

    def _views(self, read: Read, piece: Piece) -> tuple[Ready, ...]:
        assert read.opened is not None
        assert read.content is not None
        content, number = read.content, piece.number
        frame = guarded(self.preparation.frame, read.opened.frame(number))
        return tuple(
            Ready(number, view, self.preparation.view(frame, content, number, view)) for view in piece.views
        )

    def _missing(self, content: bytes, number: int) -> list[Piece]:
        rows = self.knowledge.rows
        views = [view for view in range(self.views) if key_of(content, number, view) not in rows]
        return [Piece(number, tuple(views[n : n + VIEWS_AT_ONCE])) for n in range(0, len(views), VIEWS_AT_ONCE)]


def _chosen(rule: frames.Rule, opened: Opened) -> tuple[int, ...]:
    """Return the frames that `rule` takes of a file; one by itself has been decided on (see `series`)."""
    count = opened.facts.frames
    if count == 1:
        return (0,)
    if not rule.needs_pixels:
        return rule.choose(count)
    return frames.choose_open_lung(rule, [frames.evidence(rule, opened.frame(n)) for n in range(count)])


def read_bytes(file: Path) -> bytes:
    """Return a file's bytes; an `ImageError` says why that is not possible."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise errors.ImageError("read", "no such file") from None
    except PermissionError:
        raise errors.ImageError("read", "no permission to read it") from None
    except IsADirectoryError:
        raise errors.ImageError("read", "a folder, not a file") from None
    except OSError as error:
        raise errors.ImageError("read", error.strerror or str(error)) from None
    if not data:
        raise errors.ImageError("read", "an empty file")
    return data
