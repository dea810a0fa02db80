"""SHA-256 of a cache's datasets: one for each block of 256 rows, so that damage is found and stays local."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 256


def of_block(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the SHA-256, shape (32,), of an array's little-endian bytes in C order."""
    contiguous = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("<"))
    return np.frombuffer(hashlib.sha256(contiguous.tobytes()).digest(), dtype=np.uint8)


def of_rows(dataset: Any, first_block: int = 0) -> NDArray[np.uint8]:
    """Return the SHA-256 of each block of 256 rows of `dataset`, from block `first_block` on.

    Parameters
    ----------
    dataset : h5py.Dataset or ndarray, shape (n, ...)

    Returns
    -------
    ndarray of uint8, shape (blocks, 32)
    """
    starts = range(first_block * BLOCK_ROWS, dataset.shape[0], BLOCK_ROWS)
    digests = [of_block(dataset[start : start + BLOCK_ROWS]) for start in starts]
    return np.array(digests, dtype=np.uint8).reshape(len(digests), 32)


def of_whole(dataset: Any) -> NDArray[np.uint8]:
    """Return the SHA-256 of a dataset without rows, shape (1, 32)."""
    return of_block(dataset[()]).reshape(1, 32)
