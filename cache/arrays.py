"""NumPy's files of vectors: writing an .npz for a cache, reading anyone's .npz and .npy with distrust.

What an array claims to be is looked at before memory is taken for it, and nothing is ever unpickled. What the
arrays mean is said by `tabular`.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .. import errors
from . import tabular
from .tabular import Columns

VECTORS = ("X", "vectors", "features", "embeddings")
"""What the array of vectors may be called; the first one counts."""

_MARKS = ("recipe", "fingerprint", "layer")
_OWN = "column/"
_MAX_MEMBERS = 1000
_MAX_AXES = 32
_PIECE = 16_000_000
_LONGEST_HEAD = 10_000
"""Bytes; what NumPy itself holds to be safe, and it reads first what a head of format 2 may announce: 4 GB."""


@dataclass(frozen=True)
class Head:
    """What the head of an array in NumPy's own format says.

    Parameters
    ----------
    shape : tuple of int
    fortran : bool
        Whether the first index runs quickest.
    kind : dtype
    bytes : int
        How many follow the head; unless the type holds objects, as many as the shape takes.
    """

    shape: tuple[int, ...]
    fortran: bool
    kind: np.dtype[Any]
    bytes: int


def write_npz(
    path: Path,
    vectors: NDArray[np.float32],
    columns: Mapping[str, NDArray[Any]],
    own: Mapping[str, NDArray[np.str_]],
    marks: Mapping[str, str],
) -> None:
    """Write vectors and what is said about them; `icehouse.cache.export.export` names the arrays.

    Parameters
    ----------
    path : Path
    vectors : ndarray of float32, shape (n, d)
    columns : dict of str to ndarray, shape (n,)
        Path, label, patient, split, content and frame.
    own : dict of str to ndarray of str, shape (n,)
        The user's own columns.
    marks : dict of str to str
        Recipe, fingerprint and layer, each with `icehouse.` before its name.
    """
    arrays: dict[str, NDArray[Any]] = {"X": vectors, "y": columns["label"]}
    arrays.update({name: values for name, values in columns.items() if name != "label"})
    arrays.update({_OWN + name: values for name, values in own.items()})
    arrays.update({key.removeprefix("icehouse."): np.array(text) for key, text in marks.items()})
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def own_fingerprint(path: Path) -> str | None:
    """Return the fingerprint that `write_npz` noted in a file; None if somebody else wrote it."""
    with tabular.reading(path), zipfile.ZipFile(path) as archive:
        if not {f"{name}.npy" for name in ("X", *_MARKS)} <= set(archive.namelist()):
            return None
        head = _head_in(archive, "fingerprint", path)
        if head.shape != () or head.kind.kind != "U" or head.kind.itemsize != 64 * 4:
            return None
        return tabular.as_fingerprint(str(_read_in(archive, "fingerprint", path)))


def read_npz(path: Path, column: str | None) -> tuple[NDArray[np.float32], Columns]:
    """Return the vectors of an .npz file, float32 of shape (n, d), and what its other arrays say of them.

    Parameters
    ----------
    path : Path
    column : str or None
        The array that holds the vectors; else one of `VECTORS`, or else the only array of floats that has two
        axes.

    Raises
    ------
    UsageError
        If `column` is not there, or is needed.
    SourceError
        If the file is damaged, holds no vectors, or unpacks to far more than its size.
    """
    with tabular.reading(path), zipfile.ZipFile(path) as archive:
        members = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if len(members) > _MAX_MEMBERS:
            raise errors.SourceError(f"{path} holds {len(members)} arrays; {_MAX_MEMBERS} at most are read.")
        heads = {name: _head_in(archive, name, path) for name in members}
        chosen = _choose(heads, column, path)
        tabular.check_shape(heads[chosen].shape, heads[chosen].kind, f"{path}: {chosen}")
        classes = next((name for name in tabular.CLASSES if name in heads and name != chosen), None)
        candidates = [name for name in heads if name not in (chosen, *tabular.CLASSES, *_MARKS)]
        said, ignored = _said(heads, candidates, heads[chosen].shape[0], path)
        wanted = [chosen, *said, *([classes] if classes else [])]
        tabular.check_claim(sum(heads[name].bytes for name in wanted), path)
        arrays = {name: _read_in(archive, name, path) for name in wanted}
        return tabular.as_vectors(arrays[chosen], path), tabular.columns_of(
            path,
            {name: arrays[name] for name in said if not name.startswith(_OWN)},
            {name.removeprefix(_OWN): arrays[name] for name in said if name.startswith(_OWN)},
            classes=arrays[classes] if classes else None,
            ignored=ignored,
        )


def read_npy(path: Path, column: str | None) -> tuple[NDArray[np.float32], Columns]:
    """Return the vectors of an .npy file, float32 of shape (n, d), of which it says nothing else.

    Raises
    ------
    UsageError
        If `column` is given.
    SourceError
        If the file is damaged or holds no vectors.
    """
    if column is not None:
        raise errors.UsageError(f"{path} holds one array without a name: leave out --column.")
    with tabular.reading(path), path.open("rb") as stream:
        head = read_head(stream, path.stat().st_size, str(path))
        tabular.check_shape(head.shape, head.kind, str(path))
        return tabular.as_vectors(read_values(stream, head, str(path)), path), Columns(path, {}, {})


def _choose(heads: Mapping[str, Head], column: str | None, path: Path) -> str:
    """Return which array holds the vectors."""
    if column is not None:
        if column in heads:
            return column
        raise errors.UsageError(f"{path} has no array {column!r}; its arrays are: {_listed(heads)}.")
    if named := [name for name in VECTORS if name in heads]:
        return named[0]
    tables = [name for name, head in heads.items() if len(head.shape) == 2 and head.kind.kind == "f"]
    if len(tables) == 1:
        return tables[0]
    if tables:
        raise errors.UsageError(
            f"{path} may hold its vectors in {', '.join(tables[:20])}: say which with --column."
        )
    raise errors.SourceError(
        f"{path} holds no vectors: none of its arrays is called {', '.join(VECTORS)} or is a table of floats; "
        f"its arrays are: {_listed(heads)}."
    )


def _listed(heads: Mapping[str, Head]) -> str:
    shown = [f"{name} {head.shape} {head.kind}" for name, head in heads.items()]
    return ", ".join(shown[:20]) or "none"


def _said(
    heads: Mapping[str, Head], candidates: list[str], rows: int, path: Path
) -> tuple[list[str], tuple[str, ...]]:
    """Return which arrays have one text or number a row, and which do not."""
    fits = {
        name
        for name in candidates
        if heads[name].shape == (rows,) and heads[name].kind.kind in "USbiuf" and heads[name].kind.itemsize
    }
    meant = [
        next((alias for alias in aliases if alias in candidates), "") for aliases in tabular.ALIASES.values()
    ]
    meant += [name for name in candidates if name.startswith(_OWN)]
    for name in meant:
        if name and name not in fits:
            head = heads[name]
            tabular.check_type(head.kind, f"{path}: {name}")
            raise errors.SourceError(
                f"{path}: {name} has the shape {head.shape} and the type {head.kind}, where one text or number "
                f"for each of the {rows} vectors is expected."
            )
    return [name for name in candidates if name in fits], tuple(name for name in candidates if name not in fits)


def _head_in(archive: zipfile.ZipFile, name: str, path: Path) -> Head:
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as stream:
        return read_head(stream, member.file_size, f"{path}: {name}")


def _read_in(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any]:
    member = archive.getinfo(f"{name}.npy")
    where = f"{path}: {name}"
    with archive.open(member) as stream:
        head = read_head(stream, member.file_size, where)
        tabular.check_type(head.kind, where)
        return read_values(stream, head, where)


def read_head(stream: IO[bytes], size: int, where: str) -> Head:
    """Return what the head of an array says, and leave the stream where its numbers begin.

    Parameters
    ----------
    stream : binary file
    size : int
        Bytes of the whole array, its head among them, which the head must agree with.
    where : str
        The file, and the array in it, for messages.

    Raises
    ------
    SourceError
        If it is no array, or cannot be as long as its head announces.
    """
    try:
        version = npy.read_magic(stream)
    except ValueError:
        raise errors.SourceError(f"{where} is damaged: it does not begin as NumPy's arrays do.") from None
    widths = {(1, 0): 2, (2, 0): 4}
    if version not in widths:  # version 3 exists for the sake of structured arrays
        raise errors.SourceError(f"{where} is an array of NumPy's format {version[0]}, which holds no vectors.")
    announced = stream.read(widths[version])
    length = int.from_bytes(announced, "little")
    if length > _LONGEST_HEAD:
        raise errors.SourceError(f"{where} is damaged: its head announces a length of {length} bytes.")
    text = io.BytesIO(announced + stream.read(length))
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        shape, fortran, kind = reader(text)
    except Exception:  # the text is evaluated as Python's literals, which fails in whatever way it pleases
        raise errors.SourceError(f"{where} is damaged: its head cannot be read.") from None
    if len(shape) > _MAX_AXES or not all(0 <= length < 2**63 for length in shape):
        raise errors.SourceError(f"{where} is damaged: its head announces a shape that no array has.")
    follow = size - stream.tell()
    if not kind.hasobject and math.prod(shape) * kind.itemsize != follow:
        raise errors.SourceError(
            f"{where} is damaged: it has {follow} bytes, and its head announces {str(kind)[:80]} of shape "
            f"{shape}."
        )
    return Head(shape, fortran, kind, follow)


def read_values(stream: IO[bytes], head: Head, where: str) -> NDArray[Any]:
    """Return the array that follows its head, taking no more memory than it and a piece.

    Raises
    ------
    SourceError
        If the stream ends early.
    """
    flat = np.empty(math.prod(head.shape), dtype=head.kind)
    view = flat.view(np.uint8)
    done = 0
    while done < len(view):
        piece = stream.read(min(_PIECE, len(view) - done))
        if not piece:
            raise errors.SourceError(f"{where} is damaged: it ends early.")
        view[done : done + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
        done += len(piece)
    return flat.reshape(head.shape[::-1]).T if head.fortran else flat.reshape(head.shape)
