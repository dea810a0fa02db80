"""Format version 1 of the cache file: the names, types and limits of everything in it.

Writers create datasets only through here and readers accept only what is listed here; neither opens files.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .. import errors
from .checksums import BLOCK_ROWS

FORMAT = "icehouse-cache"
FORMAT_VERSION = 1

ATTRIBUTES = (
    "format",
    "format_version",
    "recipe",
    "fingerprints",
    "selection",
    "complete",
    "anonymized",
    "created_by",
)
"""The attributes of the root group; the JSON ones are `recipe`, `fingerprints` and `selection`."""

GROUPS = ("vectors", "images", "samples", "samples/columns", "pixels", "failures", "maps", "canary")
"""Every group but `checksums`, which mirrors the whole tree."""

ATTRIBUTES_CHECKSUM = "checksums/attributes"
"""The SHA-256 of all attributes, as canonical JSON."""

MAX_STRING_BYTES = 4096
MAX_ATTRIBUTE_BYTES = 100_000
MAX_LAYERS = 64
MAX_COLUMNS = 256
_TEXTS_AT_ONCE = 16 * BLOCK_ROWS
MAX_PROVENANCE = 100_000
MAX_FRAMES = 1_000_000
"""Of one file; ten times what the longest volumes have, and soon looked through."""
MAX_VIEWS = 2**15 - 1
"""Of one frame: what the type of `images/view` can number."""


@dataclass(frozen=True)
class Spec:
    """What a dataset must look like.

    Parameters
    ----------
    kind : str
        NumPy's letter for the element type: f, i, u, or S for fixed-length UTF-8.
    tail : tuple of (int or None)
        The shape after the first axis; None stands for any length.
    rows : bool
        Whether the first axis counts rows, which makes the dataset chunked, growable and summed by block.
    bytes : tuple of int
        The element sizes that are allowed; for S, the largest.
    """

    kind: str
    tail: tuple[int | None, ...]
    rows: bool
    bytes: tuple[int, ...]


_TEXT = Spec("S", (), True, (MAX_STRING_BYTES,))
_INT32 = Spec("i", (), True, (4,))
_DIGEST = Spec("u", (32,), True, (1,))

FIXED: dict[str, Spec] = {
    "images/content": _DIGEST,
    "images/frame": _INT32,
    "images/view": Spec("i", (), True, (2,)),
    "pixels/16": Spec("u", (256,), True, (1,)),
    "samples/path": _TEXT,
    "samples/label": _TEXT,
    "samples/patient": _TEXT,
    "samples/split": _TEXT,
    "samples/content": _DIGEST,
    "samples/state": Spec("S", (), True, (16,)),
    "samples/format": _TEXT,
    "samples/mode": _TEXT,
    "samples/kind": _TEXT,
    "samples/chosen": _TEXT,
    "samples/width": _INT32,
    "samples/height": _INT32,
    "samples/bits": _INT32,
    "samples/frames": _INT32,
    "failures/path": _TEXT,
    "failures/stage": _TEXT,
    "failures/reason": _TEXT,
    "maps/mean": Spec("f", (None, None), False, (4,)),
    "maps/sum": Spec("f", (None, None), False, (8,)),
    "provenance": _TEXT,
}
"""Every dataset whose name is known beforehand."""

FAMILIES: dict[str, Spec] = {
    "vectors": Spec("f", (None,), True, (2, 4)),
    "canary": Spec("f", (None,), False, (4,)),
    "samples/columns": _TEXT,
}
"""Groups that hold one dataset per layer or per column of the user's own."""

OPTIONAL = ("pixels/16", "maps/mean", "maps/sum")
"""What a cache of imported vectors may lack, beside the group `canary`."""


_CHECKSUMS = Spec("u", (32,), True, (1,))


def spec_of(name: str) -> Spec | None:
    """Return what the dataset `name` must look like, or None if format 1 has no such dataset."""
    if name in FIXED:
        return FIXED[name]
    if name.startswith("checksums/"):
        of = name.removeprefix("checksums/")
        known = name == ATTRIBUTES_CHECKSUM or (not of.startswith("checksums/") and spec_of(of))
        return _CHECKSUMS if known else None
    family, _, _ = name.rpartition("/")
    return FAMILIES.get(family)


def table_of(name: str) -> str | None:
    """Return which table a dataset's rows belong to; datasets of one table have the same number of rows."""
    top = name.split("/")[0]
    if top in ("vectors", "images", "pixels"):
        return "images"
    return top if top in ("samples", "failures", "provenance") else None


def fault_of(text: str) -> str | None:
    """Return why a cache could not hold `text`, or None if it can."""
    if text.isascii() and text.isprintable() and len(text) <= MAX_STRING_BYTES:
        return None
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        return "holds control characters or is not valid UTF-8"
    if len(text.encode()) > MAX_STRING_BYTES:
        return f"is longer than {MAX_STRING_BYTES} bytes"
    return None


def parse_json(text: str) -> Any:
    """Return what a JSON text says; NaN and infinity, which JSON does not know, are a `ValueError`."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def fault_of_selection(selection: Mapping[str, Any]) -> str | None:
    """Return why a cache could not be of this selection, or None if it can."""
    frames, views, layers = (selection.get(name) for name in ("frames", "views", "layers"))
    if not isinstance(frames, str):
        return "does not say which frames were asked for"
    if type(views) is not int or not 1 <= views <= MAX_VIEWS:
        return f"does not say how many views were asked for, 1 to {MAX_VIEWS}"
    if "layers" in selection and not (
        isinstance(layers, list) and all(isinstance(name, str) for name in layers)
    ):
        return "does not say which layers were asked for"
    return None


def fault_in(value: Any) -> str | None:
    """Return the first fault of any text in a JSON value, or None."""
    if isinstance(value, str):
        return fault_of(value)
    if isinstance(value, dict):
        value = [*value, *value.values()]
    faults = (fault_in(item) for item in value) if isinstance(value, list) else ()
    return next((fault for fault in faults if fault), None)


def encode(values: Sequence[str] | NDArray[np.str_]) -> NDArray[np.bytes_]:
    """Return `values` as the fixed-length UTF-8 that the file holds.

    Raises
    ------
    CacheError
        If no reader would accept one of them.
    """
    texts = np.asarray(values, dtype=np.str_)
    try:
        encoded = texts.astype(np.bytes_)  # much quicker than the codec, and the same for ASCII
    except UnicodeEncodeError:
        _refuse_faulty(texts)
        encoded = np.char.encode(texts, "utf-8")
    width = int(np.char.str_len(encoded).max(initial=1))
    encoded = encoded.astype(f"S{width}")
    if width > MAX_STRING_BYTES or _first_with_controls(encoded) is not None:
        _refuse_faulty(texts)
    return encoded


def _refuse_faulty(texts: NDArray[np.str_]) -> None:
    for text in texts.tolist():
        if fault := fault_of(text):
            raise errors.CacheError(f"{text[:40]!r} cannot be kept in a cache: it {fault}.")


def decode(values: NDArray[np.bytes_]) -> NDArray[np.str_]:
    """Return fixed-length UTF-8 as NumPy strings; the inverse of `encode`.

    Raises
    ------
    ValueError
        If a text is not valid UTF-8 or holds control characters; it says which row.
    """
    if not values.size:
        return np.empty(values.shape, dtype="U1")
    if (row := _first_with_controls(values)) is not None:
        raise ValueError(f"row {row} holds control characters")
    decoded = []
    try:
        for part in _pieces(values):  # or each text would become a Python object at once
            try:
                decoded.append(part.astype(np.str_))  # much quicker than the codec, and the same for ASCII
            except UnicodeDecodeError:
                decoded.append(np.char.decode(part, "utf-8"))
        return np.concatenate(decoded)
    except UnicodeDecodeError as error:
        raise ValueError(f"{error.object[:40]!r} is not valid UTF-8") from None


def _pieces(values: NDArray[np.bytes_]) -> Iterator[NDArray[np.bytes_]]:
    """Yield a few thousand texts at a time."""
    for start in range(0, len(values), _TEXTS_AT_ONCE):
        yield values[start : start + _TEXTS_AT_ONCE]


def _first_with_controls(values: NDArray[np.bytes_]) -> int | None:
    """Return the first row that holds C0 or C1 control characters; zeros at the end are padding."""
    for number, part in enumerate(_pieces(values)):
        raw = np.ascontiguousarray(part).view(np.uint8).reshape(len(part), -1)
        bad = ((raw < 0x20) & (raw != 0)) | (raw == 0x7F)
        bad[:, :-1] |= (raw[:, :-1] == 0) & (raw[:, 1:] != 0)
        bad[:, :-1] |= (raw[:, :-1] == 0xC2) & (raw[:, 1:] >= 0x80) & (raw[:, 1:] < 0xA0)
        if len(rows := np.flatnonzero(bad.any(axis=1))):
            return number * _TEXTS_AT_ONCE + int(rows[0])
    return None


def is_type_of(stored: Any, spec: Spec) -> bool:
    """Tell whether an HDF5 type is that of a dataset's elements.

    Texts are of fixed length, padded with zeros; ASCII is UTF-8, too.
    """
    size = stored.get_size()
    if spec.kind != "S":
        kind = np.dtype(f"<{spec.kind}{size}") if size in spec.bytes else None
        return kind is not None and bool(stored.equal(h5py.h5t.py_create(kind, logical=True)))
    return bool(
        stored.get_class() == h5py.h5t.STRING
        and not stored.is_variable_str()
        and stored.get_strpad() != h5py.h5t.STR_SPACEPAD
        and size <= spec.bytes[0]
    )


def create(file: h5py.File, name: str, values: NDArray[Any]) -> h5py.Dataset:
    """Create the dataset `name` and write `values`, stored as `spec_of(name)` says.

    Datasets with rows are chunked by 256 rows and may grow; fletcher32 is the only filter.
    """
    spec = spec_of(name)
    assert spec is not None, name
    if values.dtype.kind == "S":
        values = values.view(h5py.string_dtype("utf-8", values.dtype.itemsize))
    else:
        values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    if spec.rows:
        shape = (None, *values.shape[1:])
        return file.create_dataset(
            name, data=values, chunks=chunks_of(spec, values.shape), maxshape=shape, fletcher32=True
        )
    return file.create_dataset(name, data=values, chunks=chunks_of(spec, values.shape), fletcher32=True)


def chunks_of(spec: Spec, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the chunks in which a dataset of `shape` is stored."""
    return (BLOCK_ROWS, *shape[1:]) if spec.rows else shape
