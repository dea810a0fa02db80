"""The file of a bundle: a zip of one JSON document and NumPy arrays, written whole, read with distrust.

Nothing in it is compressed, so that a file takes no more memory than its size, whoever made it. As the arrays
are plain .npy members, `numpy.load` opens a bundle too. What they mean is said by the modules that store them;
each takes its own from the `Contents` that `read` returns. Files of other kinds are told in `other_files`.
"""

from __future__ import annotations

import re
import stat
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .. import errors
from ..cache import arrays as npy_members
from ..cache import atomic
from . import document as documents
from . import other_files
from .contents import Contents

FORMAT = "icehouse-bundle"
FORMAT_VERSION = 1
DOCUMENT = "bundle.json"

_AGAIN = "Get it anew from whoever made it, or make it again with icehouse fit."

_SUFFIX = ".npy"
_TYPES = ("float32", "float64", "int32", "int64", "uint8", "bool")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*", re.ASCII)
_LONGEST_NAME = 200
_MAX_MEMBERS = 1000
_MAX_AXES = 8
_WIDEST_EMPTY = 2**20
"""The longest axis after the first of an array without rows, which could be of any length in no bytes."""
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_HEADER_BYTES, _ENTRY_BYTES = 30, 46
_END, _END_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q4sLQL")
"""The end of a zip's table of contents, and what stands before it in archives of more than 2 GB."""


def write(path: Path, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a bundle, all of it or nothing; equal contents make equal bytes.

    Parameters
    ----------
    path : Path
    document : mapping
        JSON-ready; format and version are added.
    arrays : mapping of str to ndarray
        Of float32, float64, int32, int64, uint8 or bool, each called by its path in the file, such as
        "head/weights/0".

    Raises
    ------
    BundleError
        If no reader would accept an array or the document.
    DiskFull, CacheError
        If the file could not be written.
    """
    for name, values in arrays.items():
        if fault := _fault_of_array(name, values.shape, values.dtype):
            raise errors.BundleError(f"The array {name} cannot be kept in a bundle: {fault}.")
    text = documents.encode({"format": FORMAT, "format_version": FORMAT_VERSION, **document})
    with atomic.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(_member(DOCUMENT), text)
        for name, values in sorted(arrays.items()):
            member = _member(name + _SUFFIX)
            member.file_size = values.nbytes  # zipfile must know beforehand of members above 2 GB
            with archive.open(member, "w") as stream:
                ordered = np.asarray(values, dtype=values.dtype.newbyteorder("<"), order="C")
                npy.write_array(stream, ordered, allow_pickle=False)


def is_bundle(path: Path) -> bool:
    """Tell whether a file begins as those do that `write` makes."""
    with path.open("rb") as file:
        start = file.read(_HEADER_BYTES + len(DOCUMENT))
    return start[:4] == b"PK\x03\x04" and start[_HEADER_BYTES:] == DOCUMENT.encode()


def read(path: Path) -> Contents:
    """Return what a bundle holds; no code in it is run, and it takes no more memory than its file is large.

    Raises
    ------
    BundleError
        If there is no such file, or it may not be read.
    BundleDamaged
        If it is no bundle, is damaged or of a newer format, or holds what no bundle does.
    """
    with _opened(path) as stream:
        _check_ends(stream, path)
        with _archive(stream, path) as archive:
            _check_members(archive, path)
            members = {member.filename: member for member in archive.infolist()}
            document = _read_document(archive, path)
            _check_arrays(members, path)
            arrays = {
                name.removesuffix(_SUFFIX): _read_array(archive, member, path)
                for name, member in members.items()
                if name != DOCUMENT
            }
    return Contents(path, document, arrays)


def _member(name: str) -> zipfile.ZipInfo:
    """Return a member that is the same whenever and wherever it is written."""
    member = zipfile.ZipInfo(name, _EARLIEST)
    member.create_system, member.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    return member


def _fault_of_array(name: str, shape: tuple[int, ...], kind: np.dtype[Any]) -> str | None:
    """Return why a bundle could not hold an array, or None if it can."""
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        return f"its name is not made of up to {_LONGEST_NAME} letters, digits, dots and slashes"
    if kind.newbyteorder("=") not in [np.dtype(allowed) for allowed in _TYPES]:
        return f"it is of type {str(kind)[:60]}, not one of {', '.join(_TYPES)}"
    if len(shape) > _MAX_AXES or (0 in shape and (shape[0] or max(shape) > _WIDEST_EMPTY)):
        return f"it has the shape {shape}"
    return None


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file, and turn what the system or an array's reader says of it into an error of ours."""
    try:
        if not path.is_file():
            raise other_files.refusal_of_none(path)
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile warns of names that are there twice, NumPy of odd heads
            yield stream
    except errors.SourceError as error:  # of an array, with the bundle's name in it
        raise errors.BundleDamaged(f"{error} {_AGAIN}") from None
    except PermissionError:
        raise errors.BundleError(f"No permission to read {path}.") from None
    except OSError as error:
        raise errors.BundleError(f"{path} could not be read: {error.strerror or error}.") from None


def _archive(stream: IO[bytes], path: Path) -> zipfile.ZipFile:
    """Return the zip in a file, whose table of contents may be anything of a bearable length."""
    try:
        return zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, NotImplementedError, OverflowError, ValueError, struct.error):
        raise _damaged(path, "its table of contents is damaged") from None


def _damaged(path: Path, reason: str) -> errors.BundleDamaged:
    return errors.BundleDamaged(f"{path} cannot be read: {reason}. {_AGAIN}")


def _altered(path: Path, reason: str) -> errors.BundleDamaged:
    return errors.BundleDamaged(
        f"{path} is refused: {reason}. icehouse writes no such file: do not trust it, and make the bundle "
        "again with icehouse fit."
    )


def _check_ends(stream: IO[bytes], path: Path) -> None:
    """Refuse what does not begin and end as a zip of few members does, before its table of contents is read."""
    size = stream.seek(0, 2)
    stream.seek(0)
    start = stream.read(other_files.TELLING)
    if not start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        raise other_files.refusal(path, start)
    length = min(size, _END_64.size + _END.size)
    stream.seek(size - length)
    tail = stream.read(length)
    mark, *_, directory, at, comment = _END.unpack(tail[-_END.size :].rjust(_END.size, b"\0"))
    if mark != b"PK\x05\x06" or comment:
        raise _damaged(path, "it is truncated, or has bytes behind its end")
    ends = size - _END.size
    if tail[-_END.size - 20 :].startswith(b"PK\x06\x07"):
        ends = size - length
        record = tail[: _END_64.size].ljust(_END_64.size, b"\0")
        _, _, _, _, _, _, _, _, directory, at, _, _, where, _ = _END_64.unpack(record)
        if not tail.startswith(b"PK\x06\x06") or where != ends:
            raise _damaged(path, "its table of contents is damaged")
    if directory > _MAX_MEMBERS * (_ENTRY_BYTES + 2 * _LONGEST_NAME):
        raise _altered(
            path, f"its table of contents takes {directory:,} bytes, as no {_MAX_MEMBERS} members do"
        )
    if at + directory != ends:
        raise _damaged(path, "its table of contents is not where its end says, as in a file that lost a part")
    stream.seek(0)


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse members that lead elsewhere, are there twice, or share bytes; and other kinds of zip."""
    members = archive.infolist()
    names = [member.filename for member in members]
    if DOCUMENT not in names:
        raise other_files.refusal_of_zip(path, names)
    if len(names) > _MAX_MEMBERS:
        raise _altered(path, f"it holds {len(names):,} members, and {_MAX_MEMBERS:,} are allowed")
    if len(names) > len(set(names)):
        twice = next(name for name in names if names.count(name) > 1)
        raise _altered(path, f"it holds {_shown(twice)} twice")
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        name = _shown(member.orig_filename)
        parts = re.split(r"[/\\]", member.orig_filename)
        if ".." in parts or not parts[0] or "\\" in member.orig_filename or ":" in parts[0]:
            raise _altered(path, f"it holds {name}, which would be unpacked to another folder")
        if member.filename != member.orig_filename:
            raise _altered(path, f"it holds {name}, which goes by two names")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG) or not parts[-1]:
            raise _altered(path, f"it holds {name}, which is a link or a folder")
        if member.flag_bits & 0x1:
            raise _altered(path, f"{name} is encrypted")
        if member.header_offset < end:
            raise _altered(path, f"{name} lies within another member")
        end = member.header_offset + _HEADER_BYTES + len(member.orig_filename) + member.compress_size
        if end > archive.start_dir:
            raise _altered(path, f"{name} claims to hold more than the file does")


def _check_arrays(members: Mapping[str, zipfile.ZipInfo], path: Path) -> None:
    for name, member in members.items():
        if name != DOCUMENT and not (name.endswith(_SUFFIX) and _NAME.fullmatch(name)):
            raise _altered(path, f"it holds {_shown(name)}, which is neither {DOCUMENT} nor an array")
        _check_stored(member, path)


def _check_stored(member: zipfile.ZipInfo, path: Path) -> None:
    if member.compress_type != zipfile.ZIP_STORED:
        raise _altered(path, f"{_shown(member.filename)} is compressed, as nothing in a bundle is")
    if member.file_size != member.compress_size:
        raise _altered(
            path, f"{_shown(member.filename)} claims {member.file_size:,} bytes of {member.compress_size:,}"
        )


def _read_document(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    member = archive.getinfo(DOCUMENT)
    _check_stored(member, path)
    if member.file_size > documents.LONGEST:
        raise _altered(
            path, f"{DOCUMENT} is {member.file_size:,} bytes long; {documents.LONGEST:,} are allowed"
        )
    with _content(archive, member, path) as stream:
        text = stream.read()
    try:
        document = documents.decode(text)
    except ValueError as error:
        raise _damaged(path, f"{DOCUMENT} is damaged: {error}") from None
    version = document.get("format_version")
    if document.get("format") != FORMAT:
        raise errors.BundleDamaged(f"{path} is no bundle: {DOCUMENT} does not say that it is one. {_AGAIN}")
    if type(version) is not int or version < 1:
        raise _damaged(path, "its format version is no number from 1 on")
    if version > FORMAT_VERSION:
        raise errors.BundleDamaged(
            f"{path} is a bundle of format version {version}, and this icehouse reads up to {FORMAT_VERSION}: "
            "install a newer icehouse."
        )
    return document


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> NDArray[Any]:
    where = f"{path}: {member.filename}"
    with _content(archive, member, path) as stream:
        head = npy_members.read_head(stream, member.file_size, where)
        name = member.filename.removesuffix(_SUFFIX)
        if head.kind.hasobject:
            raise _altered(path, f"{member.filename} holds Python objects (pickled), which may run code")
        if fault := _fault_of_array(name, head.shape, head.kind):
            raise _altered(path, f"{member.filename}: {fault}")
        if head.fortran or head.kind != head.kind.newbyteorder("<"):
            raise _altered(path, f"{member.filename} is stored in another order than little-endian rows")
        values = npy_members.read_values(stream, head, where)
    if values.dtype == np.bool_ and values.view(np.uint8).max(initial=0) > 1:
        raise _altered(path, f"{member.filename} holds other bytes than true and false")
    return values.astype(values.dtype.newbyteorder("="), copy=False)


@contextmanager
def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Iterator[IO[bytes]]:
    """Yield a member's bytes; its checksum is compared when the last of them is read."""
    try:
        stream = archive.open(member)
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError):
        raise _damaged(path, f"its table of contents does not agree with {member.filename}") from None
    with stream:
        try:
            yield stream
        except zipfile.BadZipFile:
            raise _damaged(path, f"{member.filename} is damaged: its checksum is wrong") from None
        except EOFError:
            raise _damaged(path, f"{member.filename} is truncated") from None


def _shown(name: str) -> str:
    return ascii(name[:80])
