"""The one way in which icehouse writes a file: a temporary file beside it, fsync, rename.

So a reader sees the whole old file or the whole new one, and a kill or a full disk leaves the old one.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import errors

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on leaving without an error, make it durable and rename it to `path`.

    Parameters
    ----------
    path : Path
        The file to be written. Its folder must exist.

    Yields
    ------
    Path
        A name in the same folder that does not exist yet; the caller creates the file there.

    Raises
    ------
    DiskFull, CacheError
        If it could not be written: see `refusal`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(FileNotFoundError):
            temporary.unlink()
        if isinstance(error, OSError) and not isinstance(error, errors.IcehouseError):
            raise refusal(error, path) from None
        raise


def refusal(error: OSError, path: Path) -> errors.IcehouseError:
    """Return what the user is told if the system does not let `path` be written."""
    if error.errno in _FULL:
        return errors.DiskFull(
            f"No room to write {path}: the disk, a quota or the largest allowed file size is reached. What "
            "stood there is untouched; make room and repeat the command."
        )
    if error.errno in _FORBIDDEN:
        return errors.CacheError(f"No permission to write {path.name} in the folder {path.absolute().parent}.")
    return errors.CacheError(
        f"{path} could not be written: {error.strerror or error}. What stood there is untouched."
    )


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, all of it or nothing."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut (where the system can sync a folder)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network disks refuse to sync a folder; the rename itself is still atomic
    finally:
        os.close(handle)


def remove_leftovers(path: Path) -> None:
    """Delete temporary files that killed writers of `path` left behind; call it only while holding its lock."""
    name = re.compile(rf"\.{re.escape(path.name)}\.\d+-[0-9a-f]{{8}}\.tmp")
    for leftover in path.parent.glob(".*.tmp"):
        if name.fullmatch(leftover.name):
            leftover.unlink(missing_ok=True)


def free(path: Path, what: str, is_one: Callable[[Path], bool], *, overwrite: bool, such_as: str = "") -> None:
    """Raise unless a file of the user's may be written at `path`; `overwrite` replaces one of its kind only.

    Parameters
    ----------
    path : Path
    what : str
        The kind of file, such as "bundle".
    is_one : callable
        Tells whether a file that is there is of that kind.
    overwrite : bool
    such_as : str
        Added to the message for a folder, to say how the file may be called.

    Raises
    ------
    UsageError
        If it is a folder or in none.
    OutputExists
        If it exists and `overwrite` is not set, or it holds something else.
    """
    if path.is_dir() or not path.name:
        raise errors.UsageError(f"{str(path)!r} is a folder; name a file{such_as}.")
    if not path.absolute().parent.is_dir():
        raise errors.UsageError(f"There is no folder {path.parent} to write {path.name} in.")
    if not path.exists():
        return
    if not overwrite:
        raise errors.OutputExists(f"{path} exists already. Give another name, or replace it with --overwrite.")
    if not path.is_file() or not is_one(path):
        raise errors.OutputExists(
            f"{path} is no {what}, and --overwrite replaces nothing else: give another name."
        )
