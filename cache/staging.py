"""Where vectors wait until they are merged into the cache: a folder of small immutable files, and its lock.

The folder `NAME.h5.partial` stands beside `NAME.h5` while something writes to it. What a killed run left there
is picked up by the next one. Merging is `commit`'s work.
"""

from __future__ import annotations

import json
import os
import socket
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from .. import errors
from . import atomic
from .keys import Keys, keys_of
from .recipe import Recipe, canonical_json, differences, digest, sentence

_ATTEMPTS = 20
_MOMENT = 0.05
SUFFIX, LOCK, NOTE, BLOCKS = ".partial", "lock", "writer.json", "block-*.npz"
"""The names of a staging folder and of what is in it."""

_RECIPE = "recipe.json"
_BLOCKS_IN_MEMORY = 20


@dataclass(frozen=True)
class Block:
    """Vectors of a few frames, as one file of the staging folder holds them.

    Parameters
    ----------
    content : ndarray of uint8, shape (k, 32)
    frame : ndarray of int32, shape (k,)
    view : ndarray of int16, shape (k,)
    vectors : dict of str to ndarray of float32, shape (k, d)
        One array per layer.
    pixels : ndarray of uint8, shape (k, 256)
    map_sum : ndarray of float64, shape (h, w, c), or None
        Sum of the last feature maps over the k rows, free of rounding: see `extract.blocks`. None where they
        are of different shapes, as those of pictures in their native size are.
    facts : dict of str to dict
        For each content (hexadecimal), what its file is: see `extract.picture.Facts`.
    canaries : dict of str to ndarray of float32, shape (3, d)
        The canaries' vectors by the engine that made this block.
    maker : dict
        That engine's name, device and libraries, for the cache's provenance.
    """

    content: NDArray[np.uint8]
    frame: NDArray[np.int32]
    view: NDArray[np.int16]
    vectors: dict[str, NDArray[np.float32]]
    pixels: NDArray[np.uint8]
    map_sum: NDArray[np.float64] | None
    facts: dict[str, dict[str, Any]]
    canaries: dict[str, NDArray[np.float32]]
    maker: dict[str, Any]

    @property
    def keys(self) -> Keys:
        """Content, frame and view of each row, packed (see `cache.keys`)."""
        return keys_of(self.content, self.frame, self.view)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return what becomes rows of the cache, by the names of its datasets."""
        vectors = {f"vectors/{layer}": array for layer, array in self.vectors.items()}
        return {
            **vectors,
            "images/content": self.content,
            "images/frame": self.frame,
            "images/view": self.view,
            "pixels/16": self.pixels,
        }


class StagedBlocks(Sequence[Block]):
    """The blocks of a staging folder; each is read when it is asked for, and only a few are kept in memory."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self._read = lru_cache(maxsize=_BLOCKS_IN_MEMORY)(_read_block)

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, number: int) -> Block: ...
    @overload
    def __getitem__(self, number: slice) -> list[Block]: ...
    def __getitem__(self, number: int | slice) -> Block | list[Block]:
        if isinstance(number, slice):
            return [self._read(file)[0] for file in self._files[number]]
        return self._read(self._files[number])[0]


class Staging:
    """The staging folder of one cache, held by this process for as long as the `with` block lasts.

    Parameters
    ----------
    cache_path : Path
        The cache that will be written.

    Raises
    ------
    CacheLocked
        On entering, if another process is writing to the same cache.
    CacheError
        On entering, if the cache is write-protected or the folder cannot be made.
    """

    def __init__(self, cache_path: Path) -> None:
        self.cache_path = cache_path
        self.folder = cache_path.with_name(cache_path.name + SUFFIX)
        self._lock = FileLock(self.folder / LOCK, timeout=0)
        self._next = 0
        self._fingerprint = ""

    def __enter__(self) -> Staging:
        if self.cache_path.exists() and not self.cache_path.stat().st_mode & 0o222:
            raise errors.CacheError(
                f"{self.cache_path} is write-protected. Allow writing to it (chmod u+w) first."
            )
        try:
            self._acquire()
        except FileNotFoundError:
            raise errors.CacheError(f"There is no folder {self.cache_path.parent}.") from None
        except FileExistsError:
            raise errors.CacheError(f"{self.folder} is in the way: it is a file. Move it away.") from None
        except OSError as error:
            raise atomic.refusal(error, self.cache_path) from None
        try:
            self._sign()
            atomic.remove_leftovers(self.cache_path)
        except BaseException:
            self._leave()
            raise
        return self

    def _acquire(self) -> None:
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                self.folder.mkdir(exist_ok=True)
                atomic.sync_folder(self.folder.parent)
                self._lock.acquire()
                return
            except (FileNotFoundError, FileExistsError):  # another writer ended and took the folder away
                if last:
                    raise
            except Timeout:
                note = read_note(self.folder / NOTE)
                if note or last:
                    raise errors.CacheLocked(
                        f"{self.cache_path} is being written to by {_writer(note)}. "
                        "Wait for it, or stop it first."
                    ) from None
                time.sleep(_MOMENT)  # who has just begun has not signed yet; who is about to end no longer does

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        if not self._block_files():
            self._remove()
        self._lock.release()

    def begin(self, recipe: Recipe) -> None:
        """Note the recipe of the blocks to come; waiting blocks that are damaged are deleted.

        Raises
        ------
        RecipeMismatch
            If blocks of another recipe are waiting here.
        """
        note = self.folder / _RECIPE
        self._fingerprint = digest(recipe)
        waiting = self._block_files()
        self._next = int(waiting[-1].stem.partition("-")[2]) + 1 if waiting else 0
        for leftover in self.folder.glob(".*.tmp"):
            leftover.unlink()
        found = read_note(note) if waiting else {}
        if found and (differing := differences(found, recipe)):
            raise errors.RecipeMismatch(
                f"An interrupted run left vectors of another recipe in {self.folder}: "
                f"{sentence(differing)}. Repeat that run with its own options, "
                "write to another file, or delete that folder."
            )
        for path in waiting:
            try:
                _, fingerprint = _read_block(path)
            except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile):
                path.unlink()  # its images are simply computed again
                continue
            if fingerprint != self._fingerprint:
                raise errors.RecipeMismatch(f"{path} holds vectors of another recipe: delete {self.folder}.")
        atomic.write_bytes(note, canonical_json(recipe).encode())

    def add(self, block: Block) -> None:
        """Write `block` durably."""
        arrays: dict[str, NDArray[Any]] = {
            "content": block.content,
            "frame": block.frame,
            "view": block.view,
            "pixels": block.pixels,
            "facts": _json_bytes(block.facts),
            "maker": _json_bytes(block.maker),
            "fingerprint": np.array(self._fingerprint),
        }
        if block.map_sum is not None:
            arrays["map_sum"] = block.map_sum
        arrays.update({f"vectors/{layer}": array for layer, array in block.vectors.items()})
        arrays.update({f"canary/{layer}": array for layer, array in block.canaries.items()})
        path = self.folder / f"block-{self._next:08d}.npz"
        self._next += 1
        with atomic.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def blocks(self) -> StagedBlocks:
        """Return the waiting blocks in the order they were written; all are whole, as `begin` has seen to."""
        return StagedBlocks(self._block_files())

    def clear(self) -> None:
        """Delete every block; call it once they are merged."""
        for path in self._block_files():
            path.unlink()

    def _block_files(self) -> list[Path]:
        return sorted(self.folder.glob(BLOCKS))

    def _sign(self) -> None:
        note = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        (self.folder / NOTE).unlink(missing_ok=True)  # a killed writer's: nobody shall be told of that one
        atomic.write_bytes(self.folder / NOTE, json.dumps(note).encode())

    def _remove(self) -> None:
        # The lock file goes last and while it is held: whoever waits on it sees that it lost its name, and
        # starts anew. If a new writer is quicker than rmdir, the folder is not empty and stays: it is its own.
        # So it does if somebody else's files are in it.
        ours = [*self.folder.glob(".*.tmp"), *(self.folder / name for name in (_RECIPE, NOTE, LOCK))]
        for path in ours:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()


@contextmanager
def making(path: Path) -> Iterator[None]:
    """Keep other writers from `path` while a new cache is written there.

    Raises
    ------
    OutputExists
        If there is a cache already, or an interrupted extraction to it.
    CacheLocked, CacheError
    """
    if path.exists():
        raise errors.OutputExists(f"{path} exists already. Choose another name.")
    with Staging(path) as staging:
        if path.exists():
            raise errors.OutputExists(f"{path} exists already. Choose another name.")
        if len(staging.blocks()):
            raise errors.OutputExists(
                f"An interrupted extraction to {path} waits in {staging.folder}. Repeat it, delete that "
                "folder, or choose another name."
            )
        yield


def _writer(note: dict[str, Any]) -> str:
    if not {"process", "host", "since"} <= note.keys():
        return "another process"
    return f"process {note['process']} on {note['host']} since {note['since']}"


def read_note(path: Path) -> dict[str, Any]:
    """Return a small JSON file's object; empty if there is none or it is damaged."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _read_block(path: Path) -> tuple[Block, str]:
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        block = Block(
            content=file["content"],
            frame=file["frame"],
            view=file["view"],
            vectors=_family(file, "vectors/"),
            pixels=file["pixels"],
            map_sum=file.get("map_sum"),
            facts=json.loads(file["facts"].tobytes()),
            canaries=_family(file, "canary/"),
            maker=json.loads(file["maker"].tobytes()),
        )
        if {len(array) for array in block.columns().values()} != {len(block.content)}:
            raise ValueError("its arrays differ in length")
        return block, str(file["fingerprint"])


def _json_bytes(value: dict[str, Any]) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)


def _family(file: Any, prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix)}
