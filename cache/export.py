"""Writing the transfer values of a cache for tools that do not know icehouse, as .npz or .parquet.

The way back, for anyone's vectors, is `foreign`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import arrays, atomic, checksums, parquet
from .recipe import canonical_json
from .rows import CacheRows
from .samples import DONE, Samples
from .store import Cache


def export(
    cache: Cache, path: Path, *, layer: str | None = None, samples: Samples | None = None
) -> dict[str, Any]:
    """Write one row for each row of `cache.X`, in the same order.

    An .npz file holds `X`, float32 of shape (n, d), so that `np.load(path)["X"]` reads it; `y`, `path`,
    `patient`, `split` and `content` (hexadecimal), texts of shape (n,); `frame`, int32 of shape (n,);
    `column/NAME` for each column of the user's own; and the texts `recipe` (JSON), `fingerprint` and `layer`.

    A .parquet file holds the columns `path`, `label`, `patient`, `split`, `content`, `frame` (int32), the
    user's own ones, and the vectors as fixed-size lists of float32 in a column named after the layer; recipe,
    fingerprint and layer are in its metadata. A column of the user's own that is called like one of these
    gets `manifest_` before its name. Row groups hold 32 MB of vectors, so that the conversion takes
    little memory beside the vectors themselves.

    Parameters
    ----------
    cache : Cache
    path : Path
        Where to; its suffix, .npz or .parquet, decides the format. The file is there whole or not at all.
    layer : str, optional
        The layer whose vectors are written; the first one unless told.
    samples : Samples, optional
        Written instead of `cache.samples`, which it equals in length and order.

    Returns
    -------
    dict
        `output`, `rows` (n), `dimensions` (d), `layer`, and `left_out`: how many samples are not done.

    Raises
    ------
    UsageError
        If the suffix is another one, or there is no such layer.
    OutputExists
        If there is something at `path` already.
    CacheIncomplete
        If no sample is done.
    MissingDependency
        If pyarrow is needed and not installed.
    CacheDamaged, CacheError, DiskFull
    """
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".parquet"):
        raise errors.UsageError(f"{path}: the suffix says what to write, and must be .npz or .parquet.")
    if path.exists():
        raise errors.OutputExists(f"{path} exists already. Delete it or name another file.")
    if not path.parent.is_dir():
        raise errors.CacheError(f"There is no folder {path.parent}.")
    if suffix == ".parquet":
        parquet.require_pyarrow()
    left_out = int(np.sum(cache.samples.state != DONE))
    if left_out == len(cache.samples):
        raise errors.CacheIncomplete(
            f"{cache.path} has no finished samples ({left_out} are pending, failed or not selected): there is "
            "nothing to export. Finish the extraction by repeating its command."
        )
    name = layer or cache.layers[0]
    vectors = cache.vectors(name).astype(np.float32, copy=False)
    CacheRows(cache).check(f"vectors/{name}", checksums.blocks_of(cache.rows))
    told = cache.samples if samples is None else samples
    columns = _columns(cache, told)
    own = {key: values[cache.sample_of_row] for key, values in told.columns.items()}
    marks = {
        parquet.RECIPE: canonical_json(cache.header.recipe),
        parquet.FINGERPRINT: cache.header.fingerprints[name],
        parquet.LAYER: name,
    }
    write = arrays.write_npz if suffix == ".npz" else parquet.write
    with atomic.replacing(path) as temporary:
        write(temporary, vectors, columns, own, marks)
    return {
        "output": str(path),
        "rows": len(vectors),
        "dimensions": vectors.shape[1],
        "layer": name,
        "left_out": left_out,
    }


def _columns(cache: Cache, samples: Samples) -> dict[str, NDArray[Any]]:
    """Return `parquet.COLUMNS` for each row of `cache.X`."""
    rows = cache.sample_of_row
    content = np.array([row.tobytes().hex() for row in samples.content], dtype="U64")
    return {
        "path": samples.path[rows],
        "label": samples.label[rows],
        "patient": samples.patient[rows],
        "split": samples.split[rows],
        "content": content[rows],
        "frame": cache.frame_of_row,
    }
