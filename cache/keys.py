"""What names a row of the vectors: content, frame and view, packed into one sortable string of bytes.

As NumPy strings of fixed length, keys are sorted, made unique and looked up by the hundred thousand at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CONTENT_BYTES = 32

Keys = NDArray[np.bytes_]


def keys_of(content: NDArray[np.uint8], frame: NDArray[np.int32], view: NDArray[np.int16]) -> Keys:
    """Return one key a row; keys sort by content, then frame, then view.

    Parameters
    ----------
    content : ndarray of uint8, shape (n, 32)
    frame, view : ndarray of int, shape (n,), not negative

    Returns
    -------
    ndarray of S38, shape (n,)
    """
    count = len(content)
    frames = np.ascontiguousarray(frame, dtype=">i4").view(np.uint8).reshape(count, 4)
    views = np.ascontiguousarray(view, dtype=">i2").view(np.uint8).reshape(count, 2)
    packed = np.ascontiguousarray(np.concatenate([content, frames, views], axis=1))
    return packed.view(f"S{CONTENT_BYTES + 6}").reshape(count)


def key_of(content: bytes, frame: int, view: int) -> bytes:
    """Return the key of one row."""
    return content + frame.to_bytes(4, "big") + view.to_bytes(2, "big")


def contents_of(content: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """Return contents, shape (n, 32), as sortable strings of bytes, shape (n,)."""
    return np.ascontiguousarray(content).view(f"S{CONTENT_BYTES}").reshape(len(content))


def contents_in(keys: Keys) -> NDArray[np.bytes_]:
    """Return the content of each key, as `contents_of` gives it."""
    packed = keys.view(np.uint8).reshape(len(keys), keys.dtype.itemsize)[:, :CONTENT_BYTES]
    return contents_of(packed)


def frames_in(keys: Keys) -> NDArray[np.int32]:
    """Return the frame of each key, shape (n,)."""
    return _number_in(keys, ">i4", CONTENT_BYTES).astype(np.int32)


def views_in(keys: Keys) -> NDArray[np.int16]:
    """Return the view of each key, shape (n,)."""
    return _number_in(keys, ">i2", CONTENT_BYTES + 4).astype(np.int16)


def _number_in(keys: Keys, kind: str, offset: int) -> NDArray[np.integer]:
    parts = np.dtype(
        {"names": ["number"], "formats": [kind], "offsets": [offset], "itemsize": keys.dtype.itemsize}
    )
    number: NDArray[np.integer] = np.ascontiguousarray(keys).view(parts)["number"]
    return number


def as_bytes(keys: Keys) -> list[bytes]:
    """Return keys or contents as Python bytes of their full length, trailing zeros included."""
    return list(keys.view(f"V{keys.dtype.itemsize}").tolist())


def first_of_each(keys: Keys) -> NDArray[np.intp]:
    """Return the index of the first row of each distinct key, in ascending order."""
    return np.sort(np.unique(keys, return_index=True)[1])
