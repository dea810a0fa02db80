"""A run as it is shown: what it found, and the folder that it left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..classify.runs import Record
from ..classify.stored import StoredRun


@dataclass(frozen=True)
class Judged:
    """A run with its results.

    Parameters
    ----------
    name : str
        As the user typed it.
    document : dict
        What `icehouse classify --json` prints.
    stored : StoredRun
    """

    name: str
    document: dict[str, Any]
    stored: StoredRun

    @cached_property
    def records(self) -> dict[str, list[Record]]:
        """The rounds of each head, by number; heads in the order asked for."""
        found: dict[str, list[Record]] = {head: [] for head in self.document["heads"]}
        for record in self.stored.records():
            if record.head in found:
                found[record.head].append(record)
        return found
