"""Names made from names, where no two may be alike: of files, and of what paths are prefixed with."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MOST_BYTES = 120


def distinct(names: Iterable[str]) -> list[str]:
    """Return names that differ even where case does not count; a number is added to those that would not."""
    taken: set[str] = set()
    chosen = []
    for name in names:
        candidate, number = name, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{name}-{number}"
        taken.add(candidate.casefold())
        chosen.append(candidate)
    return chosen


def for_file(text: str) -> str:
    """Return `text` as a part of a file's name: of plain characters, and not too long."""
    plain = re.sub(r"[^\w.=+-]+", "_", text)
    return plain.encode()[:_MOST_BYTES].decode(errors="ignore") or "_"
