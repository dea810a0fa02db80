"""Parquet files of vectors: writing one for each row of a cache, reading anyone's with distrust.

pyarrow is imported inside functions: nobody else needs it. What the columns mean is said by `tabular`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import tabular
from .tabular import Columns

COLUMNS = ("path", "label", "patient", "split", "content", "frame")
"""What a file says of each vector, beside the user's own columns."""

FINGERPRINT = "icehouse.fingerprint"
RECIPE = "icehouse.recipe"
LAYER = "icehouse.layer"
"""The keys of a file's metadata."""

_ROW_GROUP_BYTES = 32_000_000
_ROW_GROUP_ROWS = 65_536
_BATCH_ROWS = 1024
_INDEX = re.compile(r"__index_level_\d+__")
_NUMBERED = re.compile(r"(.*?)(\d+)")


def require_pyarrow() -> None:
    """Raise MissingDependency unless pyarrow is installed."""
    try:
        import pyarrow.parquet  # noqa: F401  (whether it can be imported is the question)
    except ImportError:
        raise errors.MissingDependency(
            "Parquet files are read and written by pyarrow, which is not installed: "
            "pip install 'icehouse[parquet]'"
        ) from None


def write(
    path: Path,
    vectors: NDArray[np.float32],
    columns: Mapping[str, NDArray[Any]],
    own: Mapping[str, NDArray[np.str_]],
    marks: Mapping[str, str],
) -> None:
    """Write vectors and what is said about them, in row groups of 32 MB.

    Parameters
    ----------
    path : Path
    vectors : ndarray of float32, shape (n, d)
    columns : dict of str to ndarray, shape (n,)
        Those of `COLUMNS`; `frame` int32, the others texts.
    own : dict of str to ndarray of str, shape (n,)
        The user's own columns.
    marks : dict of str to str
        The file's metadata.
    """
    import pyarrow
    import pyarrow.parquet

    layer, dimensions = marks[LAYER], vectors.shape[1]
    name = f"vectors_{layer}" if layer in COLUMNS else layer
    texts = {**columns, **{_column_name(key, name): values for key, values in own.items()}}
    fields = [(key, pyarrow.int32() if key == "frame" else pyarrow.string()) for key in texts]
    fields.append((name, pyarrow.list_(pyarrow.float32(), dimensions)))
    schema = pyarrow.schema(fields, metadata=dict(marks))
    step = min(max(1, _ROW_GROUP_BYTES // (4 * dimensions)), _ROW_GROUP_ROWS)
    # Written through a file of Python's, so that a full disk raises what `atomic` looks for.
    with (
        path.open("wb") as file,
        pyarrow.parquet.ParquetWriter(
            file, schema, use_dictionary=list(texts), write_page_checksum=True
        ) as writer,
    ):
        for start in range(0, len(vectors), step):
            part = slice(start, start + step)
            arrays = [
                pyarrow.array(values[part].tolist(), schema.field(key).type) for key, values in texts.items()
            ]
            numbers = pyarrow.array(vectors[part].reshape(-1))
            arrays.append(pyarrow.FixedSizeListArray.from_arrays(numbers, dimensions))
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


def own_fingerprint(path: Path) -> str | None:
    """Return the fingerprint that `write` noted in a file; None if somebody else wrote it."""
    import pyarrow.parquet

    with tabular.reading(path):
        metadata = pyarrow.parquet.read_schema(path).metadata or {}
        return tabular.as_fingerprint(metadata.get(FINGERPRINT.encode(), b"").decode())


def read(path: Path, column: str | None) -> tuple[NDArray[np.float32], Columns]:
    """Return the vectors of a Parquet file, float32 of shape (n, d), and what its other columns say of them.

    Parameters
    ----------
    path : Path
    column : str or None
        The column of lists that holds the vectors, or the prefix of the numbered columns that do; else the
        only column of lists, or else the largest group of numbered columns.

    Raises
    ------
    UsageError
        If `column` is not there, or is needed.
    SourceError
        If the file is damaged, holds no vectors, or unpacks to far more than its size.
    """
    import pyarrow.parquet

    with (
        tabular.reading(path),
        pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file,
    ):
        schema = file.schema_arrow
        if len(set(schema.names)) < len(schema.names):
            raise errors.SourceError(f"{path} has two columns of one name.")
        _check_size(file.metadata, path)
        chosen = _choose(schema, column, path)
        kept = [field.name for field in schema if field.name not in chosen and _is_plain(field)]
        vectors, texts = _read(file, path, chosen, kept)
        ours = {FINGERPRINT.encode(), LAYER.encode()} <= (schema.metadata or {}).keys()
        said = {name: values for name, values in texts.items() if not ours or name in COLUMNS}
        own = {_own_name(name, chosen[0]): texts[name] for name in kept if name not in said}
        ignored = tuple(name for name in schema.names if name not in chosen and name not in texts)
        return tabular.as_vectors(vectors, path), tabular.columns_of(path, said, own, ignored=ignored)


def _check_size(metadata: Any, path: Path) -> None:
    """Refuse a file that says it unpacks to far more than its size, before any of it is unpacked.

    Row groups are asked, not the columns in them: over damaged columns, pyarrow (26.0) ends the process.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    tabular.check_claim(sum(max(group.total_byte_size, 0) for group in groups), path)
    if not metadata.num_rows:
        raise errors.SourceError(f"{path} holds no vectors: it has no rows.")


def _choose(schema: Any, column: str | None, path: Path) -> list[str]:
    """Return the one column of lists, or the numbered columns, that are the vectors."""
    lists = [field.name for field in schema if _is_list(field.type)]
    groups = _numbered([field.name for field in schema if _is_number(field.type)])
    if column is not None:
        if column in lists:
            return [column]
        if column in groups:
            return groups[column]
        found = ", ".join([*lists, *(f"{prefix}0…" for prefix in groups)]) or "none"
        raise errors.UsageError(
            f"{path} has no vectors in {column!r}; columns of lists, or of numbered names, are: {found}."
        )
    if lists:
        largest = [[name] for name in lists]
    else:
        longest = max(map(len, groups.values()), default=0)
        largest = [names for names in groups.values() if len(names) == longest]
    if not largest:
        raise errors.SourceError(
            f"{path} holds no vectors: it has neither a column of lists of numbers nor columns of numbers that "
            f"are called alike and numbered; its columns are: {', '.join(schema.names[:20])}."
        )
    if len(largest) > 1:
        found = ", ".join(names[0] for names in largest)
        raise errors.UsageError(f"{path} may hold its vectors in {found}: say which with --column.")
    return largest[0]


def _numbered(names: list[str]) -> dict[str, list[str]]:
    """Return, by their prefix, the names that end in numbers, in the order of these; two or more of each."""
    groups: dict[str, dict[int, str]] = {}
    for name in names:
        if match := _NUMBERED.fullmatch(name):
            groups.setdefault(match[1], {}).setdefault(int(match[2]), name)
    return {prefix: [group[key] for key in sorted(group)] for prefix, group in groups.items() if len(group) > 1}


def _read(
    file: Any, path: Path, chosen: list[str], kept: list[str]
) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
    """Return the vectors and the kept columns, going through the file piece by piece."""
    count, row, size = file.metadata.num_rows, 0, 0
    vectors = np.empty((0, 0), dtype=np.float32)
    pieces: dict[str, list[NDArray[Any]]] = {name: [] for name in kept}
    for batch in _batches(file, [*chosen, *kept]):
        arrays = [batch.column(name) for name in chosen]
        piece = _of_lists(arrays[0], row, path) if _is_list(arrays[0].type) else _of_columns(arrays)
        if not row:
            tabular.check_shape((count, piece.shape[1]), piece.dtype, str(path))
            tabular.check_claim(4 * count * piece.shape[1], path)
            vectors = np.empty((count, piece.shape[1]), dtype=np.float32)
        if piece.shape[1] != vectors.shape[1]:
            raise errors.SourceError(_lengths(path, row, piece.shape[1], vectors.shape[1]))
        with np.errstate(over="ignore"):  # what is infinite as float32 is refused with its row
            vectors[row : row + len(piece)] = piece
        for name in kept:
            pieces[name].append(_values(batch.column(name)))
            size += pieces[name][-1].nbytes
        tabular.check_claim(max(size, vectors.nbytes), path)
        row += len(piece)
    if row != count:
        raise errors.SourceError(f"{path} is damaged: it holds {row} rows where {count} are announced.")
    return vectors, {name: np.concatenate(arrays) for name, arrays in pieces.items()}


def _batches(file: Any, columns: list[str]) -> Iterator[Any]:
    """Yield the rows in pieces; asked for all row groups at once, pyarrow would keep what it read of each."""
    for group in range(file.num_row_groups):
        yield from file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns)


def _of_lists(array: Any, row: int, path: Path) -> NDArray[Any]:
    """Return lists of numbers, which start at `row` of the file, as vectors of shape (k, d)."""
    missing = array.is_null().to_numpy(zero_copy_only=False)
    if missing.any():
        raise errors.SourceError(f"{path}, row {row + int(np.argmax(missing)) + 1}: there is no vector.")
    numbers = array.flatten().to_numpy(zero_copy_only=False)
    lengths = array.value_lengths().to_numpy(zero_copy_only=False)
    if (other := lengths != lengths[0]).any():
        first = int(np.argmax(other))
        raise errors.SourceError(_lengths(path, row + first, lengths[first], lengths[0]))
    return np.asarray(numbers).reshape(len(array), int(lengths[0]))


def _of_columns(arrays: list[Any]) -> NDArray[Any]:
    return np.stack([array.to_numpy(zero_copy_only=False) for array in arrays], axis=1)


def _lengths(path: Path, row: int, length: int, expected: int) -> str:
    return f"{path}, row {row + 1}: the vector has {length} numbers where those before it have {expected}."


def _values(array: Any) -> NDArray[Any]:
    """Return a plain column as floats or as texts; what is missing is not a number, or empty."""
    import pyarrow

    if pyarrow.types.is_floating(array.type):
        floats: NDArray[Any] = array.to_numpy(zero_copy_only=False)
        return floats
    texts = array.cast(pyarrow.string()).to_pylist()
    return tabular.text_array("" if text is None else text for text in texts)


def _is_list(kind: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return lists and _is_number(kind.value_type)


def _is_number(kind: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind))


def _is_plain(field: Any) -> bool:
    """Tell whether a column can become one text a row; an index that pandas added is nobody's column."""
    import pyarrow

    types, kind = pyarrow.types, field.type
    if types.is_dictionary(kind):
        kind = kind.value_type
    known = (types.is_string, types.is_large_string, types.is_boolean, types.is_temporal, types.is_decimal)
    plain = _is_number(kind) or any(is_known(kind) for is_known in known)
    return plain and not _INDEX.fullmatch(field.name)


def _column_name(own: str, vectors: str) -> str:
    """Return what a column of the user's own is called in a file whose vectors are called `vectors`."""
    return f"manifest_{own}" if _is_taken(own, vectors) else own


def _own_name(column: str, vectors: str) -> str:
    """Return the user's name of a column; the inverse of `_column_name`."""
    original = column.removeprefix("manifest_")
    return original if original != column and _is_taken(original, vectors) else column


def _is_taken(own: str, vectors: str) -> bool:
    """Tell whether a name is one of ours; with `manifest_` before it, too, so that no two names become one."""
    while own.startswith("manifest_"):
        own = own.removeprefix("manifest_")
    return own in (*COLUMNS, vectors)
