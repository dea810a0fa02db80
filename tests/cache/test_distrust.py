"""Promises about hostile caches: each is refused with its own sentence, in little memory, without delay.

Damage that happens by itself is not tried here, nor what honest caches give.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest
from h5py import h5d, h5g, h5p, h5s, h5t
from icehouse import errors, open_cache
from icehouse.cache.recipe import fingerprints

VECTORS = "vectors/avg_pool"
MEGABYTES, SECONDS = 200, 10

OPENING = """
import re, resource, sys, time
from pathlib import Path
import icehouse.cache.store
from icehouse import errors, open_cache

start, said = time.perf_counter(), "accepted"
try:
    with open_cache(sys.argv[1]) as cache:
        cache.samples, cache.spare, cache.X, cache.y, cache.failures, cache.provenance()
except errors.CacheDamaged as error:
    said = str(error)
seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if Path("/proc/self/status").exists():  # Linux counts the parent's memory in ru_maxrss
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(seconds, peak / 1024, ascii(said))
"""


@pytest.fixture
def cache_path(make_cache, two_clouds):
    return make_cache(*two_clouds)


def touch(path) -> None:
    """Open a cache and read all that its users read."""
    with open_cache(path) as cache:
        assert len(cache.samples) == len(cache.X) == len(cache.y)
        assert cache.failures == []
        cache.provenance(), cache.canaries(), cache.mean_map(), cache.pixels(), cache.attributes()


def alter(path, change, **how) -> None:
    with h5py.File(path, "r+", **how) as file:
        change(file)


def attribute(name, value, of="/"):
    return lambda file: file[of].attrs.__setitem__(name, value)


def write(name, row, value):
    return lambda file: file[name].__setitem__(row, value)


def replace(name, values=None, **how):
    """Return a change: a dataset is stored anew, as format 1 does unless `how` says otherwise."""

    def change(file) -> None:
        if name in file:
            del file[name]
        if values is not None:
            rows = name.split("/")[0] not in ("maps", "canary")
            how.setdefault("chunks", (256, *values.shape[1:]) if rows else values.shape)
            how.setdefault("maxshape", (None, *values.shape[1:]) if rows else None)
        file.create_dataset(name, data=values, **{"fletcher32": True, **how})

    return change


def texts(name, *values):
    def change(file) -> None:
        stored = np.array(values if len(values) > 1 else values * len(file[name]))
        replace(name, stored.view(h5py.string_dtype("utf-8", stored.dtype.itemsize)))(file)

    return change


def columns(*names):
    def change(file) -> None:
        for number, name in enumerate(names):
            replace(f"samples/columns/{number}", np.zeros(120, h5py.string_dtype("utf-8", 1)))(file)
            file[f"samples/columns/{number}"].attrs["name"] = name

    return change


def frames(count):
    return replace("samples/frames", np.full(120, count, "i4"))


def selection(text):
    return attribute("selection", text)


def link(name, target):
    return lambda file: file.__setitem__(name, target)


def same(name, other):
    return lambda file: file.__setitem__(name, file[other])


def delete(name):
    return lambda file: file.__delitem__(name)


def both(first, second):
    return lambda file: (first(file), second(file))


def low(name, kind, shape=(120,), **how):
    """Return a change: a dataset is made as only HDF5's own interface can."""

    def change(file) -> None:
        del file[name]
        creation = h5p.create(h5p.DATASET_CREATE)
        creation.set_chunk((256, *shape[1:]))
        creation.set_fletcher32()
        space = h5s.create_simple(shape, (h5s.UNLIMITED, *shape[1:]))
        h5d.create(file.id, name.encode(), kind() if callable(kind) else kind, space, creation)

    return change


def chunk(name, content, mask=0):
    return lambda file: file[name].id.write_direct_chunk((0,) * file[name].ndim, content, mask)


def unallocated(file) -> None:
    replace(VECTORS, shape=(120, 16), maxshape=(None, 16), dtype="f4", chunks=(256, 16))(file)


def unchecked(file) -> None:
    unallocated(file)
    chunk(VECTORS, bytes(16_388), mask=1)(file)


def committed(file) -> None:
    file["kind"] = np.dtype("<f4")
    replace(VECTORS, np.zeros((120, 16)), dtype=file["kind"])(file)
    del file["kind"]


def virtual(file) -> None:
    """Make the vectors those of another file: a pipe, in which HDF5 would wait for ever for a length."""
    pipe = file.filename + ".pipe"
    os.mkfifo(pipe)
    creation = h5p.create(h5p.DATASET_CREATE)
    space = h5s.create_simple((120, 16), (h5s.UNLIMITED, 16))
    space.select_hyperslab((0, 0), (1, 1), (1, 1), (h5s.UNLIMITED, 16))
    creation.set_virtual(space, pipe.encode(), b"x", space)
    del file[VECTORS]
    h5d.create(
        file.id, VECTORS.encode(), h5t.IEEE_F32LE, h5s.create_simple((0, 16), (h5s.UNLIMITED, 16)), creation
    )


def external(file) -> None:
    replace(VECTORS, shape=(120, 16), dtype="f4", external="/etc/passwd", fletcher32=False)(file)


def nested(kind, depth):
    for _ in range(depth):
        kind = h5t.array_create(kind, (1,))
    return kind


def another_layer(name):
    def change(file) -> None:
        file.attrs["fingerprints"] = json.dumps(fingerprints({"kind": "by hand"}, (name,)))
        file.move(VECTORS, f"vectors/{name}")

    return change


def many_links(file) -> None:
    for number in range(5000):
        h5g.create(file["vectors"].id, str(number).encode())


def bomb(file, name="vectors/avg_pool", wide=16) -> None:
    values = np.zeros((120_000, wide), "u1" if "checksums" in name else "f4")
    replace(name, values, compression="gzip", compression_opts=9, fletcher32=False)(file)


def shared_frames(file) -> None:
    """Let 20,000 samples share one content of 20,000 frames: 400 million lines of X."""
    count = 20_000
    replace("images/content", np.zeros((count, 32), "u1"))(file)
    replace("images/frame", np.arange(count, dtype="i4"))(file)
    replace("images/view", np.zeros(count, "i2"))(file)
    replace("pixels/16", np.zeros((count, 256), "u1"))(file)
    replace(VECTORS, np.zeros((count, 16), "f4"))(file)
    for name in ("path", "label", "patient", "split", "format", "mode", "kind"):
        texts(f"samples/{name}", *[b"x"] * count)(file)
    texts("samples/chosen", *[b""] * count)(file)
    texts("samples/state", *[b"done"] * count)(file)
    for name in ("width", "height", "bits", "frames"):
        replace(f"samples/{name}", np.full(count, count, "i4"))(file)
    replace("samples/content", np.zeros((count, 32), "u1"))(file)


def long_texts(file) -> None:
    """Give every sample a text as long as can be, each another, of a million frames that are not there."""
    frames(1_000_000)(file)
    stem = ",".join(f"{3 * number}" if number % 2 else f"{3 * number + 1}" for number in range(1, 790))
    texts("samples/chosen", *[f"{stem},{900_000 + number}".encode() for number in range(120)])(file)


def chosen_often(file) -> None:
    """Let each of 20,000 samples choose another frame of one content: 400 million to be looked through."""
    shared_frames(file)
    texts("samples/chosen", *[str(number).encode() for number in range(20_000)])(file)


def many_lines(*names, text=b"{}"):
    def change(file) -> None:
        for name in names:
            texts(name, *[text] * 1_000_000)(file)

    return change


FAILURES = ("failures/path", "failures/stage", "failures/reason")
NUMBERS = '{"a": [' + "0.1234567," * 90_000 + "0]}"
LAYERS = json.dumps({str(number): "" for number in range(600)})
OTHERWISE, KIND, ELSEWHERE = (
    "stored in a way that format 1 does not allow",
    "has another type",
    "a link to elsewhere",
)
UNKNOWN, NO_TEXT, CONTROLS = "which format 1 does not know", "neither a text nor a number", "control characters"
LARGER, SMALLER, ODD = (
    "attributes larger than",
    "claims to hold more than the file does",
    "has a chunk that is not of its size",
)

REFUSED = {
    "newer": (attribute("format_version", 2), "format version 2.*Install a newer icehouse"),
    "version 0": (attribute("format_version", 0), "format version 0, which does not exist"),
    "version text": (attribute("format_version", "9" * 10**4), "the format version is not a number"),
    "version array": (attribute("format_version", np.ones(2, "i8")), NO_TEXT),
    "another format": (attribute("format", "something"), "not an icehouse cache"),
    "another recipe": (attribute("recipe", '{"kind": "another"}'), "fingerprint does not belong"),
    "no JSON": (attribute("recipe", "{"), "recipe is not readable"),
    "no object": (attribute("recipe", "[]"), "recipe is not readable"),
    "deep JSON": (attribute("recipe", "[" * 49_000 + "]" * 49_000), "recipe is not readable"),
    "rather deep JSON": (attribute("selection", '{"a":' * 900 + "1" + "}" * 900), "recursion|not readable"),
    "many layers": (attribute("fingerprints", LAYERS), "fingerprint does not belong"),
    "complete text": (attribute("complete", "no"), "'complete' is not of its type"),
    "no complete": (lambda file: file.attrs.__delitem__("complete"), "lacks the attribute 'complete'"),
    "texts": (attribute("created_by", np.array(["x"] * 2000, object)), NO_TEXT),
    "compound attribute": (attribute("recipe", np.zeros((), [("a", "i4")])), NO_TEXT),
    "no value": (attribute("recipe", h5py.Empty("S10")), NO_TEXT),
    "made by": (attribute("created_by", "\x1b[31m"), CONTROLS),
    "layer name": (another_layer("a\x1b[31mb"), CONTROLS),
    "no label": (delete("samples/label"), "lacks samples/label"),
    "no vectors": (delete(VECTORS), "lacks vectors/avg_pool"),
    "extra": (link("extra", 1), "'extra', which format 1 does not know"),
    "deeper": (link("vectors/x/y", 1), UNKNOWN),
    "committed type": (link("vectors/kind", np.dtype("f4")), UNKNOWN),
    "another layer": (same("vectors/other", VECTORS), "a layer without a fingerprint"),
    "soft link": (link("vectors/b", h5py.SoftLink("/vectors/avg_pool")), ELSEWHERE),
    "dangling": (link("a\x1b", h5py.SoftLink("/x")), r"'a\\x1b' is a link to elsewhere"),
    "soft loop": (both(link("a", h5py.SoftLink("/b")), link("b", h5py.SoftLink("/a"))), ELSEWHERE),
    "external link": (link("vectors/b", h5py.ExternalLink("/etc/passwd", "/")), ELSEWHERE),
    "own descendant": (same("vectors/loop", "vectors"), UNKNOWN),
    "descendant of checksums": (same("checksums/samples/checksums", "checksums"), UNKNOWN),
    "group as dataset": (same("samples/columns/0", "samples"), UNKNOWN),
    "name no text": (lambda file: h5g.create(file["samples"].id, b"\xff\x1b"), "structure cannot be read"),
    "many links": (many_links, "/vectors holds 5001 objects"),
    "rows": (replace(VECTORS, np.zeros((119, 16), "f4")), "has 119 rows where 120|has 120 rows where 119"),
    "integers": (replace(VECTORS, np.zeros((120, 16), "i4")), KIND),
    "big-endian": (replace(VECTORS, np.zeros((120, 16), ">f4")), KIND),
    "objects": (replace("samples/label", np.array(["a"] * 120, object), fletcher32=False), OTHERWISE),
    "compound": (replace("images/frame", np.zeros(120, [("a", "i4")])), KIND),
    "arrays": (low("images/frame", lambda: h5t.array_create(h5t.STD_I32LE, (4,))), KIND),
    "references": (low("images/frame", h5t.STD_REF_OBJ), KIND),
    "bits": (low("images/frame", h5t.STD_B32LE), KIND),
    "date": (low("images/frame", h5t.UNIX_D32LE), KIND),
    "anonymous committed type": (committed, KIND),
    "long texts": (replace("samples/label", np.zeros(120, h5py.string_dtype("utf-8", 5000))), KIND),
    "shape": (replace("images/content", np.zeros((120, 8), "u1")), "has the shape"),
    "another chunk": (replace(VECTORS, np.zeros((120, 16), "f4"), chunks=(120, 16)), "in chunks of"),
    "contiguous": (both(delete(VECTORS), link(VECTORS, np.zeros((120, 16), "f4"))), OTHERWISE),
    "shuffled": (replace(VECTORS, np.zeros((120, 16), "f4"), shuffle=True), OTHERWISE),
    "scaled": (replace("images/frame", np.zeros(120, "i4"), scaleoffset=0, fletcher32=False), OTHERWISE),
    "no dataspace": (both(delete("images/frame"), link("images/frame", h5py.Empty("i4"))), OTHERWISE),
    "external": (external, OTHERWISE),
    "unallocated": (unallocated, SMALLER),
    "short chunk": (chunk(VECTORS, bytes(7684)), SMALLER),
    "long chunk": (chunk(VECTORS, bytes(20_000)), ODD),
    "chunk without checksum": (unchecked, ODD),
    "not a number": (write(VECTORS, (7, 3), np.nan), r"the vector of 7\.png is infinite or not a number"),
    "infinite": (write(VECTORS, (9, 0), -np.inf), r"the vector of 9\.png is infinite or not a number"),
    "escape": (texts("samples/label", b"a\x1b[31m"), "samples/label: row 0 holds control characters"),
    "C1 control": (texts("samples/patient", "a\x9b31m".encode()), "samples/patient: row 0 holds control"),
    "line break": (texts("samples/path", b"a\nb"), CONTROLS),
    "embedded NUL": (texts("samples/label", b"a\x00b"), CONTROLS),
    "delete": (texts("samples/label", b"a\x7f"), CONTROLS),
    "no UTF-8": (texts("samples/label", b"\xff\xfe"), "is not valid UTF-8"),
    "overlong UTF-8": (texts("samples/label", b"\xc0\xaf"), "is not valid UTF-8"),
    "state": (texts("samples/state", b"ready"), "a sample has the state 'ready'"),
    "column of controls": (columns("a\x1b"), "the name of a column holds control"),
    "long column": (columns("x" * 5000), "the name of a column is longer than 4096"),
    "longer column": (columns("x" * 200_000), "'name' of /samples/columns/0 is 0 MB long"),
    "column twice": (columns("age", "age"), "has two columns 'age'"),
    "frame twice": (write("images/content", slice(2), np.zeros((2, 32), "u1")), "two vectors of one frame"),
    "negative frame": (write("images/frame", 3, -1), "a negative frame or view"),
    "no vector": (write("samples/content", 5, np.zeros(32, "u1")), r"samples lack a vector, such as 5\.png"),
    "frames chosen": (texts("samples/chosen", b"0-2147483647"), "frames chosen of a sample cannot be read"),
    "frames otherwise": (both(frames(5), texts("samples/chosen", b"0,1,2")), "not how a cache writes frames"),
    "frames beyond": (both(frames(5), texts("samples/chosen", b"3,5")), "'3,5' does not stand for some of 5"),
    "frames without number": (texts("samples/chosen", b"0"), "'0' does not stand for some of 1 frames"),
    "many frames": (frames(2**31 - 1), "a sample has 2147483647 frames; 1000000 at most"),
    "negative frames": (frames(-1), "a sample has -1 frames"),
    "done without frames": (frames(0), "a finished sample has no frames"),
    "no such frames": (frames(2), r"120 finished samples lack a vector, such as 0\.png"),
    "no such views": (selection('{"frames": "all", "views": 2}'), "120 finished samples lack a vector"),
    "no views": (selection('{"frames": "all", "views": 0}'), "does not say how many views"),
    "views true": (selection('{"frames": "all", "views": true}'), "does not say how many views"),
    "many views": (selection('{"frames": "all", "views": 1e9}'), "does not say how many views"),
    "frames no text": (selection('{"frames": 3, "views": 1}'), "does not say which frames were asked for"),
    "layers no list": (
        selection('{"frames": "all", "views": 1, "layers": "x"}'), "does not say which layers were asked"
    ),
    "before frames": (
        lambda file: [file.__delitem__(f"samples/{name}") for name in ("frames", "chosen", "kind")],
        "lacks samples/chosen: it is of an icehouse that knew of no frames.*Extract it anew",
    ),
    "provenance": (texts("provenance", b"hello"), "the provenance is not readable"),
    "provenance a list": (texts("provenance", b"[1]"), "the provenance is not readable"),
    "deep provenance": (texts("provenance", b"[" * 4000), "the provenance is not readable"),
    "count": (attribute("count", "many", of="maps/mean"), "count of maps/mean is no number"),
    "no frames": (attribute("count", 0, of="maps/mean"), "count of maps/mean is no number"),
    "canaries": (replace("canary/avg_pool", np.zeros((5, 2), "f4")), "canary/avg_pool does not fit"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_format_1_does_not_list_is_refused_with_its_own_sentence(cache_path, name) -> None:
    change, message = REFUSED[name]
    alter(cache_path, change)
    with pytest.raises(errors.CacheDamaged, match=message):
        touch(cache_path)


def bytes_in_front(path) -> None:
    path.write_bytes(bytes(512) + path.read_bytes())


def bytes_behind(path) -> None:
    os.truncate(path, path.stat().st_size + 50_000_000)


def cut_off(path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


def in_dense_storage(name, value):
    """Return a change of a file: its attributes are stored where HDF5 reads them whole to look at them."""

    def change(path) -> None:
        with h5py.File(path) as old, h5py.File(path.with_suffix(".new"), "w", libver="latest") as new:
            for key in old:
                old.copy(key, new)
            for key in old.attrs:
                new.attrs[key] = old.attrs[key]
            new.attrs[name] = value
        path.with_suffix(".new").replace(path)

    return change


def by_h5py(change, **how):
    return lambda path: alter(path, change, **how)


ROWS_1E12 = replace(VECTORS, shape=(10**12, 16), maxshape=(None, 16), dtype="f4", chunks=(256, 16))
ROWS_1E5 = replace(VECTORS, shape=(10**5, 16), maxshape=(None, 16), dtype="f4", chunks=(256, 16))
GIGABYTES = replace(VECTORS, shape=(1, 10**6), maxshape=(None, 10**6), dtype="f4", chunks=(1000, 10**6))

BOMBS = {
    "text of 100 MB": (by_h5py(attribute("recipe", "x" * 100_000_000)), "100 MB that belong to no dataset"),
    "text of 15 MB": (by_h5py(attribute("recipe", "x" * 15_000_000)), "'recipe' is 15 MB long"),
    "dense recipe": (in_dense_storage("recipe", np.bytes_(b"x" * 100_000_000)), LARGER),
    "dense version": (in_dense_storage("format_version", np.bytes_(b"x" * 100_000_000)), LARGER),
    "million texts": (in_dense_storage("created_by", np.array(["x"] * 10**6, object)), LARGER),
    "numbers to hash": (by_h5py(attribute("recipe", NUMBERS)), "'recipe' is 1 MB long"),
    "rows": (by_h5py(ROWS_1E12), "claims to be larger than the file"),
    "unallocated rows": (by_h5py(ROWS_1E5), "claims to be larger than the file"),
    "chunk of gigabytes": (by_h5py(GIGABYTES), "claims to be larger than the file|in chunks of"),
    "gzip": (by_h5py(lambda file: bomb(file, wide=400)), OTHERWISE),
    "gzip in checksums": (by_h5py(lambda file: bomb(file, f"checksums/{VECTORS}", 1600)), OTHERWISE),
    "nested types": (by_h5py(low("images/frame", lambda: nested(h5t.STD_I32LE, 500)), libver="latest"), KIND),
    "virtual": (by_h5py(virtual, libver="latest"), OTHERWISE),
    "shared frames": (by_h5py(shared_frames), "share its 20000 vectors 400000000 times"),
    "chosen frames": (by_h5py(chosen_often), "share its 20000 vectors 400000000 times"),
    "million frames": (
        by_h5py(both(frames(10**6), texts("samples/chosen", b"0-999998"))), "120 finished samples lack a vector"
    ),
    "long texts": (by_h5py(long_texts), "120 finished samples lack a vector"),
    "views": (
        by_h5py(selection('{"frames": "all", "views": 32767}')), "120 finished samples lack a vector"
    ),
    "failures": (by_h5py(many_lines(*FAILURES)), "more failures than samples"),
    "provenance": (by_h5py(many_lines("provenance")), "the provenance is longer than any cache's"),
    "front": (bytes_in_front, "begins with 512 bytes that are not its own"),
    "behind": (bytes_behind, "50 MB that belong to no dataset"),
    "cut off": (cut_off, "it is truncated"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_hostile_cache_is_refused_before_it_takes_memory_or_time(cache_path, name) -> None:
    change, message = BOMBS[name]
    change(cache_path)
    command = [sys.executable, "-c", OPENING, str(cache_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    seconds, peak, said = done.stdout.strip().split(" ", 2)
    print(f"{name}: {float(seconds):.2f} s, {float(peak):.0f} MB: {said}")
    assert re.search(message, said.replace("\\'", "'"))
    assert float(peak) < MEGABYTES
    assert float(seconds) < SECONDS


def test_what_is_refused_is_only_what_was_altered(cache_path) -> None:
    touch(cache_path)
    alter(cache_path, columns("age", "sex"))
    touch(cache_path)
