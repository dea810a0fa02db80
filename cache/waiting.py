"""What extractions that run, or were killed, keep beside caches: staging folders, looked at from outside."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .staging import BLOCKS, LOCK, NOTE, SUFFIX, read_note


@dataclass(frozen=True)
class Waiting:
    """One staging folder.

    Parameters
    ----------
    folder : Path
    cache : Path
        The cache that its blocks are for.
    blocks, bytes : int
        How much waits.
    writer : dict
        What its writer noted: host, process, since; empty if nobody did.
    held : bool
        Whether that writer is still there.
    """

    folder: Path
    cache: Path
    blocks: int
    bytes: int
    writer: dict[str, Any]
    held: bool


def staging_folders(folder: Path) -> list[Waiting]:
    """Return the staging folders in `folder`, by name."""
    found = []
    for staging in sorted(folder.glob(f"*{SUFFIX}")):
        if not (staging / LOCK).is_file():
            continue  # somebody else's folder of that name
        sizes = [block.stat().st_size for block in staging.glob(BLOCKS)]
        found.append(
            Waiting(
                staging,
                staging.with_name(staging.name.removesuffix(SUFFIX)),
                len(sizes),
                sum(sizes),
                read_note(staging / NOTE),
                _is_held(staging / LOCK),
            )
        )
    return found


def _is_held(lock: Path) -> bool:
    """Tell whether a process holds a lock.

    It is shared for an instant, so that two who ask do not disturb one another, and no lock file is made where
    there is none any more.
    """
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # gone meanwhile, or a disk without locks
    return False
