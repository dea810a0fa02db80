"""What extractions that run, or were killed, keep beside caches: staging folders, looked at from outside."""

from __future__ import annotations

import fcntl
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SUFFIX, _LOCK, _NOTE, _BLOCKS = ".partial", "lock", "writer.json", "block-*.npz"  # as `staging` names them


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
    for staging in sorted(folder.glob(f"*{_SUFFIX}")):
        if not (staging / _LOCK).is_file():
            continue  # somebody else's folder of that name
        sizes = [block.stat().st_size for block in staging.glob(_BLOCKS)]
        found.append(
            Waiting(
                staging,
                staging.with_name(staging.name.removesuffix(_SUFFIX)),
                len(sizes),
                sum(sizes),
                _note_in(staging),
                _is_held(staging / _LOCK),
            )
        )
    return found


def _note_in(staging: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((staging / _NOTE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


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
