"""What this machine is: processors, memory, graphics cards and disks, as the operating system tells.

Nothing here imports a framework; what these see of the graphics card is for `engines` to say.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from .. import errors
from ..cache import atomic

NETWORK_DISKS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "fuse.glusterfs"}
    | {"fuse.sshfs", "fuse.rclone", "vboxsf", "fuse.vmhgfs-fuse"}
)
"""Kinds of file systems that several machines write to, or that another machine keeps.

Whether a lock taken on one machine holds on the others, and whether a rename is seen at once, depends there on
how it was mounted (nfs(5), mount.cifs(8): the options nolock, local_lock and nobrl).
"""

_CGROUPS = Path("/sys/fs/cgroup")


def memory() -> tuple[int | None, int | None]:
    """Return how many bytes of memory this process may take, and how many are free; None where not known."""
    told = {}
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if value.endswith("kB"):
                told[name] = int(value.split()[0]) * 1024
    total, free = told.get("MemTotal"), told.get("MemAvailable")
    for limit in _memory_limits():
        total = limit if total is None else min(total, limit)
    return total, free if free is None or total is None else min(free, total)


def _memory_limits() -> Iterator[int]:
    """Yield the memory limits of the control groups that this process is in (both versions of Linux's)."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                folder, name = _CGROUPS, "memory.max"
            elif "memory" in controllers.split(","):
                folder, name = _CGROUPS / "memory", "memory.limit_in_bytes"
            else:
                continue
            own = folder / path.strip("/")
            for group in (own, *own.parents):  # a group is held by the limits of those above it, too
                if group.is_relative_to(folder):
                    with suppress(OSError, ValueError):
                        yield int((group / name).read_text(encoding="ascii"))


def nvidia_cards() -> list[str]:
    """Return what the driver calls the NVIDIA cards of this machine; their devices' names if it cannot tell."""
    devices = [str(path) for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]
    if not devices and not Path("/dev/dxg").exists():  # the latter is how a card is seen in WSL
        return []
    command = shutil.which("nvidia-smi")
    if command is not None:
        with suppress(OSError, subprocess.SubprocessError):
            query = [command, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
            told = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
            return [line.strip() for line in told.splitlines() if line.strip()]
    return devices


@dataclass(frozen=True)
class Disk:
    """The disk under a folder.

    Parameters
    ----------
    kind : str
        Of file system, such as "ext4"; empty where not known.
    free : int
        Bytes.
    refused : str
        Why nothing can be written there; empty if it can be.
    locks : bool
        Whether a lock keeps others out, as far as one machine can tell.
    """

    kind: str
    free: int
    refused: str
    locks: bool


def disk_of(folder: Path) -> Disk:
    """Return what the disk under `folder` is; a small file is written, synced, renamed, locked and deleted."""
    trial = folder / f".icehouse-doctor-{os.getpid()}"
    refused, locks = "", True
    try:
        atomic.write_bytes(trial, b"icehouse")
        locks = _locks_hold(trial)
    except (errors.IcehouseError, OSError) as error:
        refused = str(error)
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)
    return Disk(_file_system(folder), shutil.disk_usage(folder).free, refused, locks)


def _locks_hold(file: Path) -> bool:
    with FileLock(file, timeout=0, thread_local=False):
        try:
            with FileLock(file, timeout=0, thread_local=False):
                return False
        except Timeout:
            return True


def _file_system(folder: Path) -> str:
    """Return the kind of file system that `folder` is on: that of the longest mount point above it."""
    real = folder.resolve()
    best, kind = -1, ""
    with suppress(OSError):
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
            _, place, its_kind, *_ = line.split()
            mount = Path(place.replace("\\040", " "))
            if real.is_relative_to(mount) and len(mount.parts) >= best:
                best, kind = len(mount.parts), its_kind
    return kind
