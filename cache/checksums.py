"""SHA-256 of a cache's datasets: one for each block of 256 rows, so that damage is found and stays local."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .recipe import canonical_json

BLOCK_ROWS = 256
_BLOCKS_AT_ONCE = 16


def of_block(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the SHA-256, shape (32,), of an array's little-endian bytes in C order."""
    contiguous = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("<"))
    return np.frombuffer(hashlib.sha256(contiguous.reshape(-1).view(np.uint8).data).digest(), dtype=np.uint8)


def blocks_of(rows: int) -> int:
    """Return in how many blocks so many rows are."""
    return -(-rows // BLOCK_ROWS)


def of_rows(dataset: Any) -> NDArray[np.uint8]:
    """Return the SHA-256 of each block of 256 rows of `dataset`.

    Parameters
    ----------
    dataset : h5py.Dataset or ndarray, shape (n, ...)

    Returns
    -------
    ndarray of uint8, shape (blocks, 32)
    """
    digests = []
    for start in range(0, dataset.shape[0], _BLOCKS_AT_ONCE * BLOCK_ROWS):
        rows = dataset[start : start + _BLOCKS_AT_ONCE * BLOCK_ROWS]
        digests += [of_block(rows[first : first + BLOCK_ROWS]) for first in range(0, len(rows), BLOCK_ROWS)]
    return np.array(digests, dtype=np.uint8).reshape(len(digests), 32)


def match(rows: NDArray[Any], stored: NDArray[np.uint8], block: int) -> bool:
    """Tell whether the rows of a block have the checksum that is stored for it."""
    return block < len(stored) and np.array_equal(of_block(rows), stored[block])


def of_whole(dataset: Any) -> NDArray[np.uint8]:
    """Return the SHA-256 of a dataset without rows, shape (1, 32)."""
    return of_block(dataset[()]).reshape(1, 32)


def of_attributes(values: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return the SHA-256 of attributes as canonical JSON, shape (1, 32)."""
    digest = hashlib.sha256(canonical_json(values).encode("utf-8", "surrogateescape")).digest()
    return np.frombuffer(digest, dtype=np.uint8).reshape(1, 32)
