"""What a file of vectors, or a table beside it, says about each of them: making texts of anything.

Shared by the readers of .npz and .npy (`arrays`) and of .parquet (`parquet`): the limits, and the words in
which a faulty file is refused. What becomes of it all is `foreign`'s work.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import csv_table, layout

ALIASES: dict[str, tuple[str, ...]] = {
    "path": ("path", "paths", "filename", "filenames", "files"),
    "label": ("label", "y", "labels", "target"),
    "patient": ("patient", "patients", "groups"),
    "split": ("split",),
    "content": ("content",),
    "frame": ("frame",),
}
"""What is known about a vector, and what arrays and columns that say it may be called; the first one counts."""

CLASSES = ("classes", "class_names")
"""What an array that names integer labels may be called."""

MAX_DIMENSIONS = 262_144
"""Of one vector; a cache is stored in chunks of 256 vectors, and the largest chunk is 268 MB."""

_UNPACKED = 268_435_456
_RATIO = 50
_PIECE = 4096


@dataclass(frozen=True)
class Columns:
    """What a file says about its vectors, row by row.

    Parameters
    ----------
    file : Path
        Which file says it.
    texts : dict of str to ndarray of str, shape (n,)
        Those of the keys of `ALIASES` that are said.
    own : dict of str to ndarray of str, shape (n,)
        The user's own columns.
    ignored : tuple of str
        Arrays or columns that are no text or number a row.
    """

    file: Path
    texts: dict[str, NDArray[np.str_]]
    own: dict[str, NDArray[np.str_]]
    ignored: tuple[str, ...] = ()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into one clear error.

    Raises
    ------
    SourceError
        If there is no such file, or it is damaged.
    """
    if not path.is_file():
        raise errors.SourceError(f"There is no file {path}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns of headers that old or broken writers made
            yield
    except errors.IcehouseError as error:  # it may name arrays or columns as the file does
        raise type(error)(_printable(str(error))) from None
    except PermissionError:
        raise errors.SourceError(f"No permission to read {path}.") from None
    except Exception as error:  # NumPy, zipfile, its decompressors and pyarrow each raise what they please
        reason = _printable(str(error))[:200] or type(error).__name__
        raise errors.SourceError(
            f"{path} cannot be read: it is damaged or not what its suffix says ({reason})."
        ) from None


def _printable(text: str) -> str:
    """Return `text` in one line, without what could write elsewhere on a terminal."""
    words = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(words.split())


def check_claim(claimed: int, path: Path) -> None:
    """Refuse a file that unpacks to more than 256 MB and to more than 50 times its size.

    Vectors hardly shrink: those of a network that are zero for the most part pack to a tenth. Only what is
    made to fill a memory, or nothing but zeros, packs to a thousandth.
    """
    if claimed > max(_UNPACKED, _RATIO * path.stat().st_size):
        raise errors.SourceError(
            f"{path} has {path.stat().st_size / 1e6:.1f} MB and would unpack to {claimed / 1e6:.0f} MB; "
            "refused. If it is yours, save it without compression."
        )


def check_shape(shape: Sequence[int], kind: np.dtype[Any], where: str) -> None:
    """Refuse an array that cannot be n vectors of d numbers.

    Parameters
    ----------
    shape : sequence of int
    kind : dtype
    where : str
        The file, and the array in it.
    """
    check_type(kind, where)
    if kind.kind not in "fiu":
        raise errors.SourceError(f"{where} holds values of type {kind}, where vectors of numbers are expected.")
    if len(shape) != 2:
        hint = " Average feature maps over height and width first." if len(shape) == 4 else ""
        raise errors.SourceError(
            f"{where} has the shape {tuple(shape)}, where (vectors, dimensions) is expected.{hint}"
        )
    if not all(shape):
        raise errors.SourceError(f"{where} holds no vectors: its shape is {tuple(shape)}.")
    if shape[1] > MAX_DIMENSIONS:
        raise errors.SourceError(
            f"{where} holds vectors of {shape[1]} numbers; a cache's have up to {MAX_DIMENSIONS}."
        )


def check_type(kind: np.dtype[Any], where: str) -> None:
    """Refuse objects, which would have to be unpickled."""
    if kind.hasobject:
        raise errors.SourceError(
            f"{where} holds Python objects (pickled), which may run code and are never loaded. Save texts as "
            "array.astype(str), numbers as array.astype('float32')."
        )


def as_vectors(values: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """Return vectors of shape (n, d) as float32.

    Raises
    ------
    SourceError
        If one of them is infinite or not a number; it says which row.
    """
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(values, dtype=np.float32)
    for start in range(0, len(vectors), _PIECE):
        finite = np.isfinite(vectors[start : start + _PIECE]).all(axis=1)
        if not finite.all():
            raise errors.SourceError(
                f"{path}, row {start + int(np.argmin(finite)) + 1}: the vector is infinite or not a number "
                "(as float32)."
            )
    return vectors


def as_fingerprint(text: str) -> str | None:
    """Return `text` if it is a SHA-256 in hexadecimal digits."""
    return text if re.fullmatch("[0-9a-f]{64}", text) else None


def columns_of(
    file: Path,
    said: Mapping[str, NDArray[Any]],
    own: Mapping[str, NDArray[Any]],
    *,
    classes: NDArray[Any] | None = None,
    ignored: tuple[str, ...] = (),
) -> Columns:
    """Return what arrays say, as texts.

    Parameters
    ----------
    file : Path
    said : mapping of str to ndarray, shape (n,)
        By any of `ALIASES`; what is called otherwise becomes a column of the user's own.
    own : mapping of str to ndarray, shape (n,)
        Columns of the user's own, whatever they are called.
    classes : ndarray, shape (c,), optional
        The names of integer labels.
    ignored : tuple of str

    Raises
    ------
    SourceError
        If labels are no names, or a cache could not hold a text.
    """
    rest, texts = dict(said), {}
    for name, aliases in ALIASES.items():
        found = [alias for alias in aliases if alias in rest]
        if found:
            values = rest.pop(found[0])
            texts[name] = as_texts(_labels(values, classes, file) if name == "label" else values)
    columns = {name: as_texts(values) for name, values in {**rest, **own}.items()}
    result = Columns(file, texts, columns, tuple(map(_printable, ignored)))
    _check(result)
    return result


def as_texts(values: NDArray[Any]) -> NDArray[np.str_]:
    """Return an array of texts or numbers as texts.

    Numbers that are all whole become their decimal digits even where they are stored as floats, as missing
    values make them; what is not a number becomes empty.
    """
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8")
    if values.dtype.kind != "f":
        return values.astype(str)
    known = values[~np.isnan(values)]
    whole = bool(np.all(np.isfinite(known) & (known == np.round(known)) & (np.abs(known) < 2**53)))
    texts = ["" if np.isnan(value) else str(int(value)) if whole else str(value) for value in values]
    return np.array(texts, dtype=str)


def text_array(texts: Iterable[str]) -> NDArray[np.str_]:
    """Return texts as an array, whose memory is that of the longest for each: what is too long is cut.

    One character more than a cache can hold is kept, so that the text is refused in its row.
    """
    return np.array([text[: layout.MAX_STRING_BYTES + 1] for text in texts], dtype=str)


def _labels(values: NDArray[Any], classes: NDArray[Any] | None, file: Path) -> NDArray[Any]:
    """Return labels, integers replaced by the names that `classes` gives them."""
    kind = values.dtype.kind
    if kind == "f":
        odd = np.flatnonzero(~np.isnan(values) & (values != np.round(values)))
        if len(odd):
            raise errors.SourceError(
                f"{file}, row {odd[0] + 1}: the label is {values[odd[0]]}; a class has a name or a whole "
                "number."
            )
    if classes is None or kind not in "biuf":
        return values
    names = as_texts(classes)
    known = ~np.isnan(values.astype(np.float64))
    beyond = np.flatnonzero(known & ((values < 0) | (values >= len(names))))
    if len(beyond):
        raise errors.SourceError(
            f"{file}, row {beyond[0] + 1}: the label is {values[beyond[0]]}, where the file names "
            f"{len(names)} classes."
        )
    named = names[np.where(known, values, 0).astype(np.intp)]
    return np.where(known, named, "")


def read_table(table: Path) -> Columns:
    """Return what a CSV file says about vectors, one row for each of them, in their order.

    Its columns are those of a manifest, none of them obligatory; all others are kept as the user's own.

    Raises
    ------
    SourceError
        If the table is faulty; the message names the file and line.
    """
    read = csv_table.read_table(table)
    if not read.rows:
        raise errors.SourceError(f"{table} describes no vectors: it has a header and no rows.")
    said = {name: text_array(row[name] for row in read.rows) for name in read.header}
    return columns_of(table, said, {})


def _check(columns: Columns) -> None:
    """Refuse what a cache could not hold or a terminal should not be shown."""
    if len(columns.own) > layout.MAX_COLUMNS:
        raise errors.SourceError(
            f"{columns.file} has {len(columns.own)} columns of its own; a cache holds {layout.MAX_COLUMNS}."
        )
    for name, values in {**columns.texts, **columns.own}.items():
        if fault := layout.fault_of(name) if name else "is empty":
            raise errors.SourceError(f"{columns.file}: the column name {name[:40]!r} {fault}.")
        texts = values.tolist()
        for text in dict.fromkeys(texts):
            fault = layout.fault_of(text)
            if name == "label":
                csv_table.check_label(text, f"{columns.file}, row {texts.index(text) + 1}")
            if fault:
                raise errors.SourceError(f"{columns.file}, row {texts.index(text) + 1}: the {name} {fault}.")
