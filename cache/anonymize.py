"""Replacing what names people: paths, patients and contents become pseudonyms that nobody can turn back.

They are keyed hashes whose key is drawn for one command and forgotten with it, so that, unlike hashes with a
salt that ships with the program, they cannot be found again by trying every name. What a vector itself reveals
of an image is not touched.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .rows import RowSource
from .samples import Failure, Samples
from .writing import Contents

_PROVENANCE = ("time", "icehouse", "python", "rows", "computed_by", "accepted_drift")
"""The fields of an entry of provenance that name nobody."""


@dataclass(frozen=True)
class Pseudonyms:
    """One replacement of names, equal for equal names.

    Parameters
    ----------
    keep : sequence of str
        The user's own columns that are kept; all others are dropped.
    """

    keep: Sequence[str] = ()
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def contents(self, contents: Contents) -> Contents:
        """Return `contents` without names: what becomes of the reasons of failures and of provenance too.

        Raises
        ------
        UsageError
            If a column that is to be kept does not exist.
        """
        return replace(
            contents,
            samples=self.samples(contents.samples),
            failures=[Failure(self._name("image", f.path), f.stage, "") for f in contents.failures],
            provenance=[
                {name: entry[name] for name in _PROVENANCE if name in entry} for entry in contents.provenance
            ],
            anonymized=True,
        )

    def samples(self, samples: Samples) -> Samples:
        """Return the samples table with pseudonyms for paths, patients and contents."""
        self.check(samples.columns)
        return replace(
            samples,
            path=self._names("image", samples.path),
            patient=self._names("patient", samples.patient),
            content=self.content(samples.content),
            columns={name: samples.columns[name] for name in samples.columns if name in self.keep},
        )

    def check(self, columns: Collection[str]) -> None:
        """Raise `UsageError` if a column that is to be kept does not exist."""
        if unknown := [name for name in self.keep if name not in columns]:
            known = ", ".join(sorted(columns)) or "none"
            raise errors.UsageError(f"There is no column {unknown[0]!r} to be kept; the columns are: {known}.")

    def content(self, content: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return other bytes for each content, shape (n, 32), equal for equal ones; zeros, unknown, stay."""
        digests = [
            hashlib.blake2b(row.tobytes(), key=self._key, digest_size=32).digest() if row.any() else bytes(32)
            for row in content
        ]
        return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(content), 32)

    def rows(self, source: RowSource) -> RowSource:
        """Return a source of rows with other contents."""
        return _Pseudonymous(source, self)

    def _names(self, kind: str, names: NDArray[np.str_]) -> NDArray[np.str_]:
        return np.array([self._name(kind, str(name)) for name in names], dtype=np.str_)

    def _name(self, kind: str, name: str) -> str:
        if not name:
            return ""
        digest = hashlib.blake2b(f"{kind}:{name}".encode(), key=self._key, digest_size=8).hexdigest()
        return f"{kind}-{digest}"


def pseudonyms(anonymize: bool, keep: Sequence[str]) -> Pseudonyms | None:
    """Return new pseudonyms if they are wanted.

    Raises
    ------
    UsageError
        If columns are to be kept although nothing is to be dropped.
    """
    if keep and not anonymize:
        raise errors.UsageError("--keep-column goes with --anonymize.")
    return Pseudonyms(keep) if anonymize else None


@dataclass(frozen=True)
class _Pseudonymous:
    """Rows of which the contents are replaced."""

    source: RowSource
    pseudonyms: Pseudonyms

    def names(self) -> list[str]:
        return self.source.names()

    def take(self, name: str, rows: NDArray[np.intp]) -> NDArray[Any]:
        values = self.source.take(name, rows)
        return self.pseudonyms.content(values) if name == "images/content" else values
