"""Making a cache of vectors that another program computed, so that heads and rounds serve it too.

Files are read by `arrays` and `parquet`; here their rows become samples and vectors. The way back is `export`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import arrays, chosen, layout, parquet, tabular
from .keys import contents_of, first_of_each, keys_of
from .rows import ArrayRows, Order
from .samples import DONE, Samples
from .staging import making
from .store import Cache
from .tabular import Columns
from .writing import Contents, provenance_entry, write

_HEX_CONTENT = re.compile("[0-9a-fA-F]{64}")
_LAYER = re.compile(r"[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True)
class _Rows:
    """The rows of the files, in the order of their samples, and of their frames within a sample.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
    number : ndarray of int, shape (n,)
        Which row of the files each one is, from 0 on.
    sample : ndarray of int, shape (n,)
        Ascending, from 0 on.
    path : ndarray of str, shape (n,)
    frame : ndarray of int32, shape (n,)
    content : ndarray of uint8, shape (n, 32)
    """

    vectors: NDArray[np.float32]
    number: NDArray[np.intp]
    sample: NDArray[np.intp]
    path: NDArray[np.str_]
    frame: NDArray[np.int32]
    content: NDArray[np.uint8]


def import_vectors(
    vectors: Path,
    cache: Path,
    *,
    table: Path | None = None,
    origin: str | None = None,
    layer: str = "imported",
    column: str | None = None,
) -> dict[str, Any]:
    """Make a cache of the vectors in an .npz, .npy or .parquet file.

    Integers and half or double precision become float32. What is said about the vectors is found by the names
    in `tabular.ALIASES`; every other text or number a row is kept as a column of the user's own. Rows of one
    path are the frames of one sample, and must then differ in `frame`.

    A sample's content is what the file says it is (SHA-256 in hexadecimal digits), or else the SHA-256 of its
    vectors' little-endian float32 bytes, its frames then being numbered from 0 on. So samples with equal
    vectors count as exact duplicates: they share a row of the cache, and stay on one side of every split.

    Parameters
    ----------
    vectors : Path
    cache : Path
        The cache to make.
    table : Path, optional
        A CSV file with one row for each vector, in their order; what it says counts more than what the file of
        the vectors says. Without any paths, they are `row 1`, `row 2` and so on.
    origin : str, optional
        Which network or program made the vectors; part of the recipe. Not needed for what `export` wrote.
    layer : str
        What the vectors are called in the cache.
    column : str, optional
        The array, the column of lists, or the prefix of numbered columns, that holds the vectors.

    Returns
    -------
    dict
        `cache`, `rows` (distinct vectors), `samples`, `dimensions`, `layer`, `classes` (samples by label),
        `patients`, and `ignored`: arrays or columns that are no text or number a row.

    Raises
    ------
    UsageError
        If the suffix, the layer or the column is impossible, or the origin must be given.
    SourceError
        If the files are damaged, do not belong together, or contradict themselves; it says in which row.
    OutputExists
        If there is a cache, or an interrupted extraction to it, already.
    MissingDependency
        If pyarrow is needed and not installed.
    CacheLocked, CacheError, DiskFull
    """
    suffix = vectors.suffix.lower()
    if suffix not in _READERS:
        raise errors.UsageError(f"{vectors}: vectors are read from .npz, .npy and .parquet files only.")
    if not _LAYER.fullmatch(layer) or not layer.strip("."):
        raise errors.UsageError(
            f"{layer!r} cannot be the name of a layer: take up to 100 of the characters A-Z a-z 0-9 _ . -"
        )
    if suffix == ".parquet":
        parquet.require_pyarrow()
    if cache.exists():
        raise errors.OutputExists(f"{cache} exists already. Choose another name.")
    recipe_origin = _origin(vectors, suffix, origin)
    matrix, said = _READERS[suffix](vectors, column)
    said = _with_table(said, len(matrix), table)
    rows = _arrange(matrix, said, vectors)
    samples = _samples(rows, said, vectors)
    keys = keys_of(rows.content, rows.frame, np.zeros(len(rows.frame), dtype=np.int16))
    kept = _distinct(rows, keys, vectors)
    entry = provenance_entry(imported=vectors.name, rows=len(kept))
    recipe = {
        "kind": "foreign",
        "origin": recipe_origin,
        "dimensions": matrix.shape[1],
        "dtype": "float32",
    }
    contents = Contents(recipe, (layer,), {"frames": "all", "views": 1}, samples, [], [entry])
    source = ArrayRows(
        {
            f"vectors/{layer}": rows.vectors,
            "images/content": rows.content,
            "images/frame": rows.frame,
            "images/view": np.zeros(len(rows.frame), dtype=np.int16),
        }
    )
    with making(cache):
        write(cache, contents, [source], Order(np.zeros(len(kept), dtype=np.intp), kept))
        _refuse_copies(cache, vectors)
    labels = Counter(samples.label.tolist())
    return {
        "cache": str(cache),
        "rows": len(kept),
        "samples": len(samples),
        "dimensions": matrix.shape[1],
        "layer": layer,
        "classes": {label: labels[label] for label in sorted(labels) if label},
        "patients": len(set(samples.patient.tolist()) - {""}),
        "ignored": list(said.ignored),
    }


_READERS: dict[str, Callable[[Path, str | None], tuple[NDArray[np.float32], Columns]]] = {
    ".npz": arrays.read_npz,
    ".npy": arrays.read_npy,
    ".parquet": parquet.read,
}


def _refuse_copies(cache: Path, vectors: Path) -> None:
    """Take back a cache that no reader would accept, as nearly all of its vectors are the same."""
    try:
        with Cache(cache) as made:
            made.sample_of_row  # noqa: B018  (looking is the test)
    except errors.CacheDamaged:
        cache.unlink()
        raise errors.SourceError(
            f"{vectors}: nearly all of its vectors are equal, so many that no reader would trust the cache. Is "
            "it the right file?"
        ) from None


def _origin(vectors: Path, suffix: str, given: str | None) -> str:
    """Return who made the vectors: as the user says, or an icehouse cache."""
    if given is not None:
        if fault := layout.fault_of(given) if given.strip() else "is empty":
            raise errors.UsageError(f"--origin {fault}.")
        return given
    readers = {".npz": arrays.own_fingerprint, ".parquet": parquet.own_fingerprint}
    fingerprint = readers[suffix](vectors) if suffix in readers else None
    if fingerprint is None:
        raise errors.UsageError(
            "Say with --origin which network or program made these vectors, such as --origin 'resnet50 by "
            "torchvision 0.20'."
        )
    return f"export of icehouse cache {fingerprint[:12]}"


def _with_table(said: Columns, count: int, table: Path | None) -> Columns:
    """Return what the file of the vectors and the table say together."""
    if table is None:
        return said
    more = tabular.read_table(table)
    rows = len(next(iter({**more.texts, **more.own}.values())))
    if rows != count:
        raise errors.SourceError(
            f"{said.file} holds {count} vectors and {table} describes {rows}; both must have the "
            "same rows in the same order."
        )
    return Columns(said.file, {**said.texts, **more.texts}, {**said.own, **more.own}, said.ignored)


def _arrange(vectors: NDArray[np.float32], said: Columns, file: Path) -> _Rows:
    """Return the rows in the order of their samples, and of their frames within a sample."""
    path = said.texts.get("path", np.array([f"row {number + 1}" for number in range(len(vectors))]))
    if len(empty := np.flatnonzero(path == "")):
        raise errors.SourceError(f"{file}, row {empty[0] + 1}: the path is empty.")
    _, first, inverse = np.unique(path, return_index=True, return_inverse=True)
    sample = np.argsort(np.argsort(first))[inverse]  # numbered in the order in which they first occur
    frame = _frames(said, len(vectors), file)
    order = np.lexsort((frame, sample))
    path, sample, frame = path[order], sample[order], frame[order]
    twice = np.flatnonzero((sample[1:] == sample[:-1]) & (frame[1:] == frame[:-1]))
    if len(twice):
        one, other = order[twice[0]] + 1, order[twice[0] + 1] + 1
        raise errors.SourceError(
            f"{file}, rows {one} and {other}: both have the path {str(path[twice[0]])!r}. Paths must be "
            "unique; only the frames of one image share theirs, and differ in 'frame'."
        )
    start = np.searchsorted(sample, sample)
    for name, values in {**said.texts, **said.own}.items():
        if name == "frame":
            continue
        differs = np.flatnonzero(values[order] != values[order][start])
        if len(differs):
            one, other = order[start[differs[0]]] + 1, order[differs[0]] + 1
            raise errors.SourceError(
                f"{file}, rows {one} and {other}: both have the path {str(path[differs[0]])!r}, but they "
                f"differ in {name!r}."
            )
    ordered = vectors if np.array_equal(order, np.arange(len(order))) else vectors[order]
    content, known = _contents(said, order, file)
    frame[~known] = (np.arange(len(order)) - start)[~known]
    for run in np.split(np.flatnonzero(~known), np.flatnonzero(np.diff(sample[~known])) + 1):
        if len(run):
            digest = hashlib.sha256(ordered[run].astype("<f4", copy=False).tobytes()).digest()
            content[run] = np.frombuffer(digest, dtype=np.uint8)
    return _Rows(ordered, order, sample, path, frame, content)


def _frames(said: Columns, count: int, file: Path) -> NDArray[np.int32]:
    if "frame" not in said.texts:
        return np.zeros(count, dtype=np.int32)
    texts = said.texts["frame"].tolist()
    for row, text in enumerate(texts):
        if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) < layout.MAX_FRAMES):
            raise errors.SourceError(
                f"{file}, row {row + 1}: the frame is {text[:40]!r}; frames are numbered 0, 1, 2 and so "
                f"on, up to {layout.MAX_FRAMES - 1}."
            )
    return np.array(texts, dtype=np.int64).astype(np.int32)


def _contents(
    said: Columns, order: NDArray[np.intp], file: Path
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the contents that are given, and of which rows; the others are zeros."""
    content = np.zeros((len(order), 32), dtype=np.uint8)
    texts = said.texts.get("content", np.full(len(order), ""))[order]
    for place in np.flatnonzero(texts != ""):
        text = str(texts[place])
        if not _HEX_CONTENT.fullmatch(text):
            raise errors.SourceError(
                f"{file}, row {order[place] + 1}: the content is {text[:70]!r}, where a SHA-256 of 64 "
                "hexadecimal digits is expected."
            )
        content[place] = np.frombuffer(bytes.fromhex(text), dtype=np.uint8)
    return content, texts != ""


def _samples(rows: _Rows, said: Columns, file: Path) -> Samples:
    first = np.unique(rows.sample, return_index=True)[1]
    number, empty = rows.number[first], np.full(len(first), "")
    zeros = np.zeros(len(first), dtype=np.int32)
    frames, taken = _chosen(rows, first, file)
    texts = {name: values[number] for name, values in said.texts.items()}
    return Samples(
        path=rows.path[first],
        label=texts.get("label", empty),
        patient=texts.get("patient", empty),
        split=texts.get("split", empty),
        content=rows.content[first],
        state=np.full(len(first), DONE),
        format=empty,
        mode=empty,
        kind=empty,
        chosen=taken,
        width=zeros,
        height=zeros,
        bits=zeros,
        frames=frames,
        columns={name: values[number] for name, values in said.own.items()},
    )


def _chosen(rows: _Rows, first: NDArray[np.intp], file: Path) -> tuple[NDArray[np.int32], NDArray[np.str_]]:
    """Return how many frames each sample's content has, as far as the rows tell, and which the sample takes."""
    _, image = np.unique(contents_of(rows.content), return_inverse=True)
    totals = np.zeros(len(rows.frame), dtype=np.int32)
    np.maximum.at(totals, image, rows.frame + 1)
    frames = totals[image[first]]
    counts = np.diff(first, append=len(rows.frame))
    texts = [""] * len(first)
    for sample in np.flatnonzero(counts < frames).tolist():
        part = slice(first[sample], first[sample] + counts[sample])
        try:
            texts[sample] = chosen.text_of(rows.frame[part], int(frames[sample]))
        except ValueError as error:
            raise errors.SourceError(f"{file}, row {rows.number[first[sample]] + 1}: {error}.") from None
    return frames, np.array(texts)


def _distinct(rows: _Rows, keys: NDArray[np.bytes_], file: Path) -> NDArray[np.intp]:
    """Return the first row of each frame of each content.

    Raises
    ------
    SourceError
        If rows of one frame have different vectors.
    """
    kept = first_of_each(keys)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    for place in np.setdiff1d(np.arange(len(keys)), kept, assume_unique=True):
        twin = first[inverse[place]]
        if not np.array_equal(rows.vectors[place], rows.vectors[twin]):
            raise errors.SourceError(
                f"{file}, rows {rows.number[twin] + 1} and {rows.number[place] + 1}: they have the same "
                "content and frame, but different vectors."
            )
    return kept
