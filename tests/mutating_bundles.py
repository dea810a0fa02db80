"""Makes mutants of whole bundles and tries each of them; run as a program, so that a crash is seen.

    python mutating_bundles.py FOLDER LOADER COUNT SKIP SECONDS

takes the bundles KIND.head of FOLDER, COUNT mutants of each but the first SKIP of them all, opens each by
LOADER (as "module:function") and asks it for the scores of the vectors in FOLDER/rows.npy. It prints
`begin KIND NUMBER` before each mutant, and after it `end SECONDS` with `refused`, `works` or `failed` and why.
It exits where a mutant runs code or takes more than SECONDS. A mutant depends on its kind and number alone, and
its checksums are right.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import random
import resource
import sys
import time
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from icehouse.report.prediction import bundle_text

DOCUMENT = "bundle.json"
ALLOWED_ABOVE_START = 2**30
"""Bytes of address space beyond those that the good bundles took."""

CODE = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "pickle.",
    "socket.",
)
"""Python's own names of what no bundle makes happen (see sys.addaudithook)."""

Members = dict[str, bytes]


class Planted:
    """What unpickling would run."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("planted",)


def unpacked(whole: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: Members, kind: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return stream.getvalue()


def mutant(whole: bytes, kind: str, number: int) -> bytes:
    """Return a good bundle with one to four things in it made different."""
    generator = random.Random(f"{kind} {number}")
    members = unpacked(whole)
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        change = generator.choices((numbers, form, raw_array, naming, field, raw_text), (12, 4, 2, 2, 8, 1))[0]
        change(generator, members)
    return packed(members, zipfile.ZIP_DEFLATED if generator.random() < 0.01 else zipfile.ZIP_STORED)


def arrays_of(members: Members) -> list[str]:
    """Return which members are arrays that NumPy reads, large or small."""
    names = []
    for name, content in members.items():
        try:
            if name != DOCUMENT and np.load(io.BytesIO(content)).dtype.kind in "fiub":
                names.append(name)
        except Exception:  # NumPy raises what it pleases of a head that was altered before
            continue
    return sorted(names)


def saved(values: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def changing_an_array(change: Callable[[random.Random, np.ndarray], Any]) -> Callable[..., None]:
    def changed(generator: random.Random, members: Members) -> None:
        if names := arrays_of(members):
            name = generator.choice(names)
            members[name] = saved(change(generator, np.load(io.BytesIO(members[name]))))

    return changed


@changing_an_array
def numbers(generator: random.Random, values: np.ndarray) -> np.ndarray:
    """Put other numbers in some places of an array, or in all."""
    flat = values.reshape(-1).copy()
    if not flat.size:
        return values
    count = generator.choice((1, 1, 2, max(1, flat.size // 10), flat.size))
    places = generator.sample(range(flat.size), min(count, flat.size))
    once = generator.random() < 0.5
    number = other_number(generator, flat)
    for place in places:
        flat[place] = number if once else other_number(generator, flat)
    return flat.reshape(values.shape)


def other_number(generator: random.Random, flat: np.ndarray) -> Any:
    old = flat[generator.randrange(flat.size)]
    if flat.dtype.kind == "f":
        limits = np.finfo(flat.dtype)
        choices = [np.nan, np.inf, -np.inf, limits.max, -limits.max, limits.tiny, 0, 1, -1, 1e30, -1e30, 1e-30]
        choices += [-float(old), generator.gauss(0, 1), generator.gauss(0, 1e5)]
        return generator.choice(choices)
    if flat.dtype.kind == "b":
        return generator.random() < 0.5
    limits = np.iinfo(flat.dtype)
    near = [int(old) + 1, int(old) - 1, -1, 0, 1, 2, flat.size - 1, flat.size, generator.randrange(flat.size)]
    choices = [*near, limits.max, limits.min, generator.randrange(limits.min, limits.max)]
    return min(max(generator.choice(choices), limits.min), limits.max)


@changing_an_array
def form(generator: random.Random, values: np.ndarray) -> Any:
    """Give an array another shape or type, or other lengths."""
    kinds = [
        np.float16,
        np.float32,
        np.float64,
        np.int8,
        np.int32,
        np.int64,
        np.uint8,
        bool,
        ">f4",
        "U3",
        complex,
    ]
    with np.errstate(all="ignore"):
        match generator.randrange(10):
            case 0 | 1:
                return values.astype(generator.choice(kinds))
            case 2:
                return values[..., None]
            case 3:
                return values.T
            case 4:
                return values.reshape(-1)
            case 5 if values.ndim:
                return values[: generator.randrange(len(values) + 1)]
            case 6 if values.ndim:
                return np.concatenate([values, values])
            case 7 if values.ndim:
                return values[..., : generator.randrange(values.shape[-1] + 1)]
            case 8:
                return np.array([Planted()], dtype=object)
            case _:
                return values[..., ::-1] if values.ndim else values[None]


def raw_array(generator: random.Random, members: Members) -> None:
    """Change bytes of an array's member: of its head, of its numbers, or its length."""
    name = generator.choice(sorted(members))
    content = bytearray(members[name])
    for _ in range(generator.choice((1, 3))):
        if not content:
            break
        place = int(len(content) * generator.random() ** generator.choice((1, 2)))
        match generator.randrange(5):
            case 0 | 1:
                content[place] = generator.randrange(256)
            case 2:
                del content[place : place + generator.choice((1, 4, 1000))]
            case 3:
                content[place:place] = generator.randbytes(generator.choice((1, 4, 1000)))
            case 4:
                content[place] = ord(generator.choice("0123456789()<>,-"))
    members[name] = bytes(content)


def naming(generator: random.Random, members: Members) -> None:
    """Let an array go by another name, be gone, or be another one."""
    names = sorted(members)
    one, other = generator.choice(names), generator.choice(names)
    match generator.randrange(5):
        case 0:
            del members[one]
        case 1:
            members[one] = members[other]
        case 2:
            members[one], members[other] = members[other], members[one]
        case 3:
            members[generator.choice(("../x.npy", "x.pkl", "x.npy", "head/x.npy", "/x.npy"))] = members[one]
        case 4:
            members[one[: generator.randrange(len(one))] + generator.choice(("0.npy", ".npy"))] = members.pop(
                one
            )


def field(generator: random.Random, members: Members) -> None:
    """Change, add or take away a field of the document, however deep inside."""
    try:
        document = json.loads(members[DOCUMENT])
    except (KeyError, ValueError):
        return
    places = places_in(document)
    if not places:
        return
    inside, key = generator.choice(places)
    match generator.randrange(8):
        case 0:
            del inside[key]
        case 1 if isinstance(inside, dict):
            inside[generator.choice(("x", "", "x\x1b", "format"))] = generator.choice(OTHER_VALUES)
        case 1:
            inside.insert(key, generator.choice(OTHER_VALUES))
        case 2:
            other, its_key = generator.choice(places)
            inside[key] = json.loads(json.dumps(other[its_key]))
        case 3 | 4 if isinstance(inside[key], int | float):
            inside[key] = inside[key] * generator.choice((-1, 0, 2, 0.5, 1000, 1e12)) + generator.choice(
                (0, 1, -1)
            )
        case 3 | 4 if isinstance(inside[key], list):
            inside[key] = generator.choice(
                (inside[key] * 2, inside[key][:-1], inside[key][::-1], [inside[key]])
            )
        case 3 | 4 if isinstance(inside[key], str):
            inside[key] = generator.choice(
                (inside[key] * 2, inside[key][:-1], inside[key].upper(), inside[key] + "\u202e")
            )
        case _:
            inside[key] = generator.choice(OTHER_VALUES)
    members[DOCUMENT] = json.dumps(document).encode()


OTHER_VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 1000, 2**31, 2**53 + 1, 2**63, 10**40, 0.5, -0.5, 1e-320, 1e308),
    *(float("nan"), float("inf"), "", "x", "\x1b[31m", "x" * 5000, "../x", "0"),
    *([], {}, [1, 2, 3], ["a", "b"], [[]], [None], {"a": 1}),
]  # fmt: skip


def places_in(document: Any) -> list[tuple[Any, Any]]:
    """Return every object or list with each of its keys or places."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        inside = waiting.pop()
        if isinstance(inside, dict | list):
            keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
            found += [(inside, key) for key in keys]
            waiting += [inside[key] for key in keys]
    return found


def raw_text(generator: random.Random, members: Members) -> None:
    """Change the characters of the document."""
    if not (text := bytearray(members.get(DOCUMENT, b""))):
        return
    place = generator.randrange(len(text))
    match generator.randrange(4):
        case 0:
            text[place] = ord(generator.choice('{}[]",:019-.eE\\u'))
        case 1:
            del text[place:]
        case 2:
            text[place:place] = generator.choice((b"[" * 2000, b"9" * 5000, b"\xff", b'"a":1,', b"NaN"))
        case 3:
            text[-1:] = b', "format": "icehouse-bundle"}'
    members[DOCUMENT] = bytes(text)


def outcome(load: Callable[[Path], Any], path: Path, rows: np.ndarray) -> str:
    """Return how opening a bundle and asking it for the scores of some vectors ended."""
    from icehouse import errors

    try:
        bundle = load(path)
        probabilities, novelty = bundle.scores(rows)
        if hasattr(bundle, "as_dict"):  # the readers that are none of icehouse's have nothing to show
            bundle_text(json.loads(json.dumps(bundle.as_dict(), allow_nan=False)))
    except errors.IcehouseError as error:
        said = str(error)
        fit = said.isprintable() and path.name in said and len(said) < 1000
        return f"refused {said}" if fit else f"failed with the sentence {said!a}"
    except Exception as error:
        return f"failed with {type(error).__name__}: {str(error)!a}"
    if probabilities.ndim != 2 or len(probabilities) != len(rows) or probabilities.dtype != np.float64:
        return f"failed with probabilities {probabilities.dtype} of shape {probabilities.shape}"
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        return f"failed with the probabilities {probabilities.tolist()}"
    if np.abs(probabilities.sum(axis=1) - 1).max() > 1e-6:
        return f"failed with probabilities that sum to {probabilities.sum(axis=1).tolist()}"
    if novelty is not None and not (novelty.shape == (len(rows),) and ((novelty >= 0) & (novelty <= 1)).all()):
        return f"failed with the p-values {novelty.tolist()}"
    return "works"


armed = False


def stop_what_runs_code(event: str, arguments: tuple[Any, ...]) -> None:
    """End the process where a mutant makes something happen that none may; it is seen as a crash."""
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if armed and (writes or event.startswith(CODE)):
        os.write(2, f"it ran {event} {arguments!r}\n".encode())
        os._exit(3)


def main(folder: Path, loader: str, count: int, skip: int, seconds: float) -> None:
    """Try `count` mutants of each bundle, but the first `skip` of them all."""
    global armed
    sys.dont_write_bytecode = True  # modules that a mutant makes be imported shall write nothing
    module, _, name = loader.partition(":")
    load = getattr(import_module(module), name)
    rows = np.load(folder / "rows.npy")
    good = {path.stem: path.read_bytes() for path in sorted(folder.glob("*.head"))}
    for kind in good:
        assert (ended := outcome(load, folder / f"{kind}.head", rows)) == "works", f"{kind}: {ended}"
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + ALLOWED_ABOVE_START,) * 2)
    sys.addaudithook(stop_what_runs_code)
    path = folder / "mutant" / "mutant.head"
    path.parent.mkdir(exist_ok=True)
    for kind, number in [(kind, number) for kind in good for number in range(count)][skip:]:
        path.write_bytes(mutant(good[kind], kind, number))
        print(f"begin {kind} {number}", flush=True)
        began = time.perf_counter()
        faulthandler.dump_traceback_later(seconds, exit=True)
        armed = True
        ended = outcome(load, path, rows)
        armed = False
        faulthandler.cancel_dump_traceback_later()
        print(f"end {time.perf_counter() - began:.3f} {ended}", flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
