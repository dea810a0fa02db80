"""Keyed hashes of patients, so that splits cannot leak, a bundle knows its patients, and nobody is named.

The key lies beside the cache and is never part of it: with it, files added later get the same pseudonyms;
without it, nobody can find a patient's number by trying them all.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import atomic
from .keys import CONTENT_BYTES

FILE = "icehouse-patients.key"
VARIABLE = "ICEHOUSE_PATIENTS_KEY"
"""Names a key file in another place, for caches in several folders that share their patients."""

_BYTES = 32
_DIGITS = 12
_PSEUDONYM = re.compile(f"patient-[0-9a-f]{{{_DIGITS}}}")


class PatientKey:
    """The key of pseudonyms; read, or made, when the first one is asked for.

    Parameters
    ----------
    folder : Path or None
        Where the key lies, unless `ICEHOUSE_PATIENTS_KEY` names a file. None draws one for this process only.
    """

    def __init__(self, folder: Path | None) -> None:
        named = os.environ.get(VARIABLE)
        self._file = Path(named) if named else folder / FILE if folder is not None else None
        self._key: bytes | None = None

    def pseudonym(self, *identity: str) -> str:
        """Return what stands for a patient, such as "patient-3f0c…": the same for the same texts and key.

        Raises
        ------
        SourceError
            If the key cannot be read or written.
        """
        return f"patient-{self._hash(identity).hex()[:_DIGITS]}"

    @property
    def there(self) -> bool:
        """Whether the key lies in a file already."""
        return self._file is not None and self._file.is_file() and self._file.stat().st_size > 0

    def digests(self, patients: Iterable[str]) -> NDArray[np.uint8]:
        """Return a keyed hash of each patient's name, shape (n, 32); the same raises as `pseudonym`."""
        hashes = [self._hash(("patient", name)) for name in patients]
        return np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(-1, CONTENT_BYTES)

    def mark(self) -> str:
        """Return what tells this key from others and gives nothing away of it, 16 hexadecimal digits."""
        return self._hash(("mark",)).hex()[:16]

    def _hash(self, identity: tuple[str, ...]) -> bytes:
        if self._key is None:
            self._key = secrets.token_bytes(_BYTES) if self._file is None else _kept(self._file)
        message = "\0".join(identity).encode("utf-8", "surrogateescape")
        return hmac.new(self._key, message, hashlib.sha256).digest()


def is_pseudonym(patient: str) -> bool:
    """Tell whether a patient's name is what some key made of it."""
    return _PSEUDONYM.fullmatch(patient) is not None


def find(folders: Iterable[Path], mark: str) -> PatientKey | None:
    """Return the key with this mark, in one of these folders or where the variable says; None."""
    named = os.environ.get(VARIABLE)
    for folder in [Path(named).parent] if named else folders:
        key = PatientKey(folder)
        with suppress(errors.SourceError):  # a damaged key in one place says nothing of the others
            if key.there and key.mark() == mark:
                return key
    return None


def _kept(file: Path) -> bytes:
    """Return the key in `file`; it is made, readable for its owner only, if there is none."""
    try:
        if not file.exists() or (file.is_file() and file.stat().st_size == 0):
            _make(file)
        key = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except OSError as error:
        raise errors.SourceError(
            f"{file}, the key of patients' pseudonyms, cannot be read or written ({error.strerror}). Name "
            f"another file with {VARIABLE}."
        ) from None
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise errors.SourceError(
            f"{file} holds no key of patients' pseudonyms: {2 * _BYTES} hexadecimal digits. Put the right one "
            "back; or remove it, and pseudonyms change."
        )
    return key


def _make(file: Path) -> None:
    """Write a new key to `file` unless another process is faster: whole, or not at all.

    An empty file is what a process left that was ended as it wrote a key, so no pseudonym was ever made of it.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_hex(_BYTES))
            new.flush()
            os.fsync(new.fileno())
        try:
            os.link(temporary, file)  # fails where a file is, so the first one stays
        except OSError:  # an empty file is there, or the file system knows no links
            _fill(file, temporary)
        atomic.sync_folder(file.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _fill(file: Path, temporary: Path) -> None:
    """Put `temporary` in the place of a file that is empty or missing; one process at a time, by its lock."""
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600)) as empty:
        with suppress(OSError):  # no locks there: then two processes at the same moment may make two keys
            fcntl.flock(empty, fcntl.LOCK_EX)
        if file.stat().st_size == 0:  # of the name, as another process may have put its own there meanwhile
            temporary.replace(file)
