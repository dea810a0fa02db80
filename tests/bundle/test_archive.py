"""Promises about a bundle's file: equal contents make equal bytes, and each attack ends in its own sentence."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import stat
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from icehouse import errors
from icehouse.bundle import archive
from icehouse.bundle.contents import Contents
from making import draw

MEGABYTES, SECONDS = 150, 0.5

DOCUMENT = {
    "classes": ["covid", "ünormal"],
    "head": {"kind": "svm", "C": 1.5, "units": [64, 32], "rates": [0.5, 1], "weighted": False, "none": None},
    "layers": [{"name": "avg_pool"}, {"name": "pyramid"}],
}
ARRAYS = {
    "head/weights/0": np.arange(12, dtype=np.float32).reshape(3, 4),
    "head/mask": np.array([True, False]),
    "novelty/reference": np.linspace(0, 1, 5),
    "novelty/count": np.array(7),
    "training/content": np.arange(64, dtype=np.uint8).reshape(2, 32),
    "training/none": np.empty((0, 32), dtype=np.int32),
}

READING = """
import re, sys, time
from pathlib import Path
from icehouse import errors
from icehouse.bundle import archive

start, said = time.process_time(), "accepted"
try:
    archive.read(Path(sys.argv[1]))
except errors.BundleError as error:
    said = str(error)
seconds = time.process_time() - start
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
print(seconds, int(peak) / 1024, ascii(said))
"""


@pytest.fixture
def bundle(tmp_path) -> Path:
    archive.write(tmp_path / "svm.head", DOCUMENT, ARRAYS)
    return tmp_path / "svm.head"


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def pack(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", kind) as opened:
        for name, content in members.items():
            opened.writestr(name, content)


# What is written


def test_what_was_written_is_read_again_the_same(bundle) -> None:
    contents = archive.read(bundle)
    for name, values in ARRAYS.items():
        read = contents.array(name, values.shape, values.dtype.name)
        assert (read.dtype, read.shape) == (values.dtype, values.shape)
        np.testing.assert_array_equal(read, values)
    assert contents.plain("head") == DOCUMENT["head"]
    assert contents.texts("classes") == ("covid", "ünormal")
    assert np.load(bundle)["head/weights/0"].tolist() == ARRAYS["head/weights/0"].tolist()


def test_equal_contents_make_equal_bytes_whenever_and_in_whatever_order_they_are_written(bundle) -> None:
    again = bundle.with_name("again.head")
    shuffled = {name: DOCUMENT[name] for name in reversed(DOCUMENT)}
    others = {name: ARRAYS[name].copy(order="F") for name in reversed(ARRAYS)}
    others["novelty/reference"] = others["novelty/reference"].astype(">f8")
    archive.write(again, shuffled, others)
    assert again.read_bytes() == bundle.read_bytes()


def test_a_bundle_that_could_not_be_written_leaves_the_old_one(bundle) -> None:
    before = bundle.read_bytes()
    with pytest.raises(errors.BundleError, match=r"array head/x cannot be kept .* type object"):
        archive.write(bundle, DOCUMENT, {"head/x": np.array([{}])})
    assert bundle.read_bytes() == before
    assert [path.name for path in bundle.parent.iterdir()] == ["svm.head"]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("x", np.zeros(2, "f2"), "type float16, not one of float32"),
        ("x", np.array(["a"]), "type <U1"),
        ("x", np.zeros(2, complex), "type complex128"),
        ("x", np.zeros(2, [("a", "f4")]), r"type \[\('a'"),
        ("x", np.zeros((1,) * 9), "the shape"),
        ("x", np.zeros((2, 0)), "the shape"),
        ("x", np.zeros((0, 2**21)), "the shape"),
        ("../x", np.zeros(2), "its name is not made of"),
        ("a b", np.zeros(2), "its name is not made of"),
        ("x" * 201, np.zeros(2), "its name is not made of"),
    ],
)
def test_what_no_reader_would_accept_is_not_written(name, values, message, tmp_path) -> None:
    with pytest.raises(errors.BundleError, match=message):
        archive.write(tmp_path / "x.head", {}, {name: values})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "infinite or none"),
        ([np.inf], "infinite or none"),
        (2**63, "more than 64 bits"),
        ("a\x1b[2J", "holds control characters"),
        ("a\u202eb", "reverse the direction"),
        ({"a\u2028": 1}, "break lines"),
        ("\ud800", "not valid UTF-8"),
        ("x" * 5000, "longer than 4096 bytes"),
        (json.loads("[" * 40 + "]" * 40), "nested deeper than 32"),
        (["x" * 4000] * 501, "takes 2,006,... bytes of JSON"),
        ([0] * 50_000, "more than 50,000 values"),
    ],
)
def test_a_document_that_no_reader_would_accept_is_not_written(value, message, tmp_path) -> None:
    with pytest.raises(errors.BundleError, match=message):
        archive.write(tmp_path / "x.head", {"value": value}, {})
    assert not list(tmp_path.iterdir())


def test_a_link_to_a_bundle_is_read_as_the_bundle(bundle, tmp_path) -> None:
    (tmp_path / "link.head").symlink_to(bundle)
    assert archive.read(tmp_path / "link.head").texts("classes") == ("covid", "ünormal")


def test_a_bundle_beyond_2_gb_has_another_table_of_contents_and_is_read_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 600)  # so that a small one is written as a large one
    path = tmp_path / "large.head"
    archive.write(path, DOCUMENT, ARRAYS)
    assert b"PK\x06\x06" in path.read_bytes()
    assert archive.read(path).array("head/weights/0", (3, None)).shape == (3, 4)
    whole = bytearray(path.read_bytes())
    whole[-22 - 20 - 16 : -22 - 20 - 8] = (10**9).to_bytes(8, "little")
    path.write_bytes(whole)
    with pytest.raises(errors.BundleDamaged, match=r"table of contents takes 1,000,000,000 bytes"):
        archive.read(path)


# Files of other kinds


def no_file(path) -> None:
    path.unlink()


def folder(path) -> None:
    path.unlink()
    path.mkdir()


def run_folder(path) -> None:
    folder(path)
    (path / "run.json").write_text("{}")


def pipe(path) -> None:
    path.unlink()
    os.mkfifo(path)


def image(path) -> None:
    draw(path.with_suffix(".png"), 1)
    path.with_suffix(".png").replace(path)


def npz(path) -> None:
    np.savez(path.with_suffix(".npz"), X=np.ones((2, 2)))
    path.with_suffix(".npz").replace(path)


OTHERS = {
    "nothing": (no_file, r"There is no bundle .*svm\.head. icehouse fit CACHE -o .*svm\.head makes one"),
    "folder": (folder, "is a folder, and a bundle is one file"),
    "run": (run_folder, "is the folder of a run, which holds results and no fitted head"),
    "pipe": (pipe, "is no file"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("hello"), "is no bundle, or has lost its beginning"),
    "image": (image, "is an image, and no bundle: icehouse predict takes the bundle first"),
    "DICOM": (lambda path: path.write_bytes(bytes(128) + b"DICM"), "is an image"),
    "npz": (npz, r"is an \.npz file of arrays"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "is a Python pickle"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b\x08\0"), "is compressed by gzip"),
    "Keras": (
        lambda path: pack(path, {"config.json": b"", "model.weights.h5": b""}),
        "is a Keras model, and no bundle",
    ),
    "empty zip": (lambda path: pack(path, {}), "is a zip archive without bundle.json"),
    "zip": (lambda path: pack(path, {"a.txt": b""}), "is a zip archive without bundle.json"),
    "JSON of something else": (lambda path: pack(path, {"bundle.json": b"{}"}), "does not say that it is one"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_kind_is_called_by_its_kind(bundle, name) -> None:
    change, message = OTHERS[name]
    change(bundle)
    with pytest.raises(errors.BundleError, match=message):
        archive.read(bundle)


def test_a_cache_is_told_from_a_bundle(make_cache, two_clouds) -> None:
    with pytest.raises(errors.BundleDamaged, match=r"icehouse fit .*features\.h5 -o MODEL\.head makes one"):
        archive.read(make_cache(*two_clouds))


@pytest.mark.skipif(sys.platform != "linux", reason="setpriv is Linux's")
def test_a_bundle_that_may_not_be_read_is_an_error_that_says_so(bundle) -> None:
    bundle.chmod(0)
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    command = [*powerless, sys.executable, "-c", READING, str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"No permission to read {bundle}." in done.stdout


# Hostile and damaged files


def alter(change):
    """Return an attack: members are changed, and packed again as icehouse does."""

    def attack(path) -> None:
        members = members_of(path)
        pack(path, change(members) or members)

    return attack


def with_member(name, content=b"x"):
    return alter(lambda members: members.update({name: content}))


def with_text(text):
    return with_member("bundle.json", text if isinstance(text, bytes) else text.encode())


def with_field(name, text):
    """Return an attack: a field is added that reads `text` in JSON."""

    def change(members) -> None:
        members["bundle.json"] = members["bundle.json"][:-1] + f', "{name}": {text}}}'.encode()

    return alter(change)


def head_of(shape: str, kind: str = "'<f4'", order: str = "False", version: int = 1) -> bytes:
    text = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text


def saved(values) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def with_array(content):
    return with_member("head/weights/0.npy", content)


def rewrite(change):
    """Return an attack: the bytes of the file are changed."""

    def attack(path) -> None:
        whole = bytearray(path.read_bytes())
        path.write_bytes(change(whole) or whole)

    return attack


def in_table(offset, content, nth=1):
    """Return an attack: bytes of the nth entry of the table of contents are changed."""

    def change(whole) -> None:
        at = -1
        for _ in range(nth + 1):
            at = whole.index(b"PK\x01\x02", at + 1)
        whole[at + offset : at + offset + len(content)] = content

    return rewrite(change)


def flipped(whole) -> None:
    whole[whole.index(ARRAYS["head/weights/0"].tobytes()) + 2] ^= 1


def shared(path) -> None:
    """Let every entry of the table of contents lead to the same bytes."""
    content = saved(np.zeros(250_000, "f4"))
    names = [f"a{number:03}" for number in range(300)]
    members = {"bundle.json": members_of(path)["bundle.json"], f"{names[0]}.npy": content}
    pack(path, members)
    whole = path.read_bytes()
    start = whole.rindex(b"PK\x01\x02")
    entry, end = whole[start:-22], bytearray(whole[-22:])
    entries = b"".join(entry.replace(names[0].encode(), name.encode()) for name in names)
    first = whole.index(b"PK\x01\x02")
    directory = whole[first:start] + entries
    struct.pack_into("<2H2L", end, 8, 301, 301, len(directory), first)
    path.write_bytes(whole[:first] + directory + end)


def twice(path) -> None:
    members = members_of(path)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as opened:
        warnings.simplefilter("ignore")
        opened.writestr("head/mask.npy", members["head/mask.npy"])


def linked(path) -> None:
    member = zipfile.ZipInfo("head/link.npy")
    member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr(member, "/etc/passwd")


class Planted:
    def __reduce__(self):
        return os.mkdir, (os.environ["ICEHOUSE_PLANTED"],)


def planted_objects(path) -> None:
    with_array(saved(np.array([Planted()], dtype=object)))(path)


AN_ATTACK = "do not trust it, and make the bundle again"
ELSEWHERE, ITS_HEAD = "would be unpacked to another folder", "damaged: its head cannot be read"
NEITHER = "neither bundle.json nor an array"

REFUSED = {
    "truncated": (rewrite(lambda whole: whole[:-1]), "is truncated, or has bytes behind its end"),
    "half": (rewrite(lambda whole: whole[: len(whole) // 2]), "is truncated"),
    "a few bytes": (rewrite(lambda whole: whole[:10]), "is truncated"),
    "bytes behind": (rewrite(lambda whole: whole + bytes(50)), "has bytes behind its end"),
    "bytes in front": (rewrite(lambda whole: b"#!/bin/sh\n" + whole), "lost its beginning"),
    "another zip in front": (rewrite(lambda whole: whole[:400] + whole), "not where its end says"),
    "comment": (rewrite(lambda whole: whole[:-2] + b"\x05\0hello"), "bytes behind its end"),
    "directory nowhere": (rewrite(lambda whole: whole[:-6] + bytes(6)), "not where its end says"),
    "end of a large one": (
        rewrite(lambda whole: whole[:10] + b"PK\x06\x07" + bytes(16) + b"PK\x05\x06" + bytes(18)),
        "table of contents is damaged",
    ),
    "no entry": (in_table(0, b"XX"), "table of contents is damaged"),
    "newer zip": (in_table(6, b"\xff\x00"), "table of contents is damaged"),
    "encrypted": (in_table(8, b"\x01\x00"), "is encrypted.*" + AN_ATTACK),
    "patched": (in_table(8, b"\x20\x00"), "table of contents does not agree with head/mask"),
    "unknown compression": (in_table(10, b"\x63\x00"), "'head/mask.npy' is compressed"),
    "another name": (in_table(46, b"HEAD"), "table of contents does not agree with HEAD/mask.npy"),
    "CRC": (in_table(16, b"abcd"), r"head/mask\.npy is damaged: its checksum is wrong"),
    "CRC of document": (in_table(16, b"abcd", nth=0), r"bundle\.json is damaged: its checksum is wrong"),
    "CRC of nothing": (in_table(16, b"abcd", nth=6), r"none\.npy is damaged: its checksum is wrong"),
    "flipped bit": (rewrite(flipped), r"head/weights/0\.npy is damaged: its checksum is wrong"),
    "declared size": (in_table(24, b"\xff\xff\xff\x7f"), "claims 2,147,483,647 bytes of 130"),
    "declared sizes": (in_table(20, b"\xff\xff\xff\x7f" * 2), "claims to hold more than the file does|within"),
    "offset": (in_table(42, b"\x01\0\0\0"), "lies within another member"),
    "smaller": (in_table(20, b"\x81\0\0\0" * 2), r"checksum is wrong|1 bytes, and its head announces"),
    "deflated": (lambda path: pack(path, members_of(path), zipfile.ZIP_DEFLATED), "bundle.json' is compressed"),
    "bzip2": (lambda path: pack(path, members_of(path), zipfile.ZIP_BZIP2), "is compressed"),
    "twice": (twice, r"it holds 'head/mask\.npy' twice"),
    "link": (linked, r"'head/link\.npy', which is a link or a folder"),
    "folder": (with_member("head/", b""), "'head/', which is a link or a folder"),
    "absolute": (with_member("/etc/x.npy"), ELSEWHERE),
    "climbing": (with_member("head/../../x.npy"), ELSEWHERE),
    "backslash": (with_member("head\\x.npy"), ELSEWHERE),
    "drive": (with_member("C:x.npy"), ELSEWHERE),
    "script": (with_member("setup.py"), f"'setup.py', which is {NEITHER}.*{AN_ATTACK}"),
    "pickle": (with_member("head/model.pkl", pickle.dumps({})), NEITHER),
    "odd name": (with_member("a\x1b[2J.npy"), r"'a\\x1b\[2J\.npy', which is neither"),
    "hidden": (with_member(".x.npy"), NEITHER),
    "NUL in a name": (in_table(46, b"head\0mask.npy"), "goes by two names"),
    "many members": (
        alter(lambda members: members.update({f"{number}.npy": b"" for number in range(1001)})),
        "it holds 1,008 members, and 1,000 are allowed",
    ),
    "no JSON": (with_text("{"), "bundle.json is damaged: it is no JSON, from character 1 on"),
    "no text": (with_text(b"\xff\xfe{"), "it is not valid UTF-8"),
    "no object": (with_text("[1]"), "it is no JSON object"),
    "a number": (with_text("1"), "it is no JSON object"),
    "long JSON": (with_text(" " * 2_000_001), "is 2,000,001 bytes long; 2,000,000 are allowed"),
    "deep JSON": (with_text('{"a": ' * 49_000), "nested deeper than 32 levels"),
    "rather deep JSON": (with_field("a", "[" * 40 + "]" * 40), "nested deeper than 32 levels"),
    "NaN": (with_field("a", "NaN"), "it holds NaN, which is no number of JSON's"),
    "infinity": (with_field("a", "1e999"), "a number that is infinite or none"),
    "digits": (with_field("a", "9" * 1_000_000), "a number of 1000000 digits"),
    "decimals": (with_field("a", "0." + "9" * 1_000_000), "a number of 1000002 digits"),
    "65 bits": (with_field("a", str(2**64)), "more than 64 bits"),
    "field twice": (with_field("format", '"icehouse-bundle"'), "names a field twice"),
    "field twice inside": (with_field("a", '[{"b": 1, "b": 1}]'), "names a field twice"),
    "escape": (with_field("a", '"\\u001b[2J"'), "one of its texts holds control characters"),
    "reversed": (with_field("a", '"\\u202egepj.exe"'), "reverse the direction of reading"),
    "surrogate": (with_field("a", '"\\ud800"'), "not valid UTF-8"),
    "escape in a name": (with_field("\\u009b", "1"), "one of its texts holds control characters"),
    "long text": (with_field("a", '"' + "x" * 5000 + '"'), "longer than 4096 bytes"),
    "newer": (with_text('{"format": "icehouse-bundle", "format_version": 2}'), "install a newer icehouse"),
    "version 0": (with_text('{"format": "icehouse-bundle", "format_version": 0}'), "no number from 1 on"),
    "version true": (with_text('{"format": "icehouse-bundle", "format_version": true}'), "no number from 1 on"),
    "no version": (with_text('{"format": "icehouse-bundle"}'), "no number from 1 on"),
    "no array": (with_array(b"hello, world"), r"head/weights/0\.npy is damaged: it does not begin as NumPy's"),
    "empty array": (with_array(b""), "it does not begin as NumPy's"),
    "only a head": (with_array(head_of("(1,)")), "has 0 bytes, and its head announces float32"),
    "objects": (planted_objects, r"Python objects \(pickled\), which may run code"),
    "structured": (with_array(saved(np.zeros(2, [("a\x1b", "f4")]))), r"of type \[\('a\\x1b'"),
    "array in array": (with_array(head_of("(1,)", "('<f4', (2,))") + bytes(8)), "of type"),
    "times": (with_array(saved(np.zeros(2, "M8[s]"))), "of type datetime64"),
    "texts": (with_array(saved(np.array(["a"]))), "of type <U1"),
    "no type": (with_array(head_of("(1,)", "'<q9'") + bytes(8)), ITS_HEAD),
    "half precision": (with_array(saved(np.zeros(2, "f2"))), "of type float16, not one of float32"),
    "big-endian": (with_array(saved(np.zeros(2, ">f4"))), "another order than little-endian rows"),
    "columns": (with_array(saved(np.asfortranarray(np.ones((2, 3))))), "another order than little-endian rows"),
    "truth": (with_array(head_of("(2,)", "'|b1'") + b"\x01\x02"), "other bytes than true and false"),
    "shape": (with_array(head_of("(3, 3)") + bytes(48)), r"has 48 bytes, .* float32 of shape \(3, 3\)"),
    "bytes after": (with_array(saved(np.zeros(2)) + b"x"), "has 17 bytes, and its head announces float64"),
    "negative": (with_array(head_of("(-2, -2)") + bytes(16)), "a shape that no array has"),
    "overflow": (with_array(head_of("(4294967296, 4294967296, 0)")), "has the shape"),
    "overflow to nothing": (with_array(head_of("(9223372036854775808, 0)")), "a shape that no array has"),
    "hexadecimal": (with_array(head_of(f"(0x{'f' * 9000},)")), "a shape that no array has"),
    "many axes": (with_array(head_of(f"({'1, ' * 40})") + bytes(4)), "a shape that no array has"),
    "some axes": (with_array(head_of(f"({'1, ' * 9})") + bytes(4)), "has the shape"),
    "rows of nothing": (with_array(head_of("(1000000000000, 0)")), "has the shape"),
    "no rows of much": (with_array(head_of("(0, 1000000000000)")), "has the shape"),
    "no shape": (with_array(head_of("7") + bytes(28)), ITS_HEAD),
    "brackets": (with_array(head_of("(" * 3000)), ITS_HEAD),
    "signs": (with_array(head_of(f"({'-' * 9000}1,)")), ITS_HEAD),
    "a call": (with_array(head_of("__import__('os').mkdir('x')")), ITS_HEAD),
    "long head": (with_array(head_of("(1,)" + " " * 20_000) + bytes(4)), "announces a length of 20"),
    "longest head": (with_array(b"\x93NUMPY\x02\x00\xff\xff\xff\xff"), "a length of 4294967295 bytes"),
    "cut head": (with_array(head_of("(1,)")[:30]), ITS_HEAD),
    "format 3": (with_array(head_of("(1,)", version=3) + bytes(4)), "NumPy's format 3"),
    "format 7": (with_array(b"\x93NUMPY\x07\x00"), "NumPy's format 7"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_each_kind_of_damage_has_its_own_sentence(bundle, name, monkeypatch) -> None:
    planted = bundle.with_name("planted")
    monkeypatch.setenv("ICEHOUSE_PLANTED", str(planted))
    attack, message = REFUSED[name]
    attack(bundle)
    tracemalloc.start()
    with pytest.raises(errors.BundleDamaged, match=message) as told:
        archive.read(bundle)
    assert tracemalloc.get_traced_memory()[1] < 70e6
    tracemalloc.stop()
    said = str(told.value)
    print(said)
    assert said.startswith(str(bundle))
    assert said.isprintable()
    assert len(said) < len(str(bundle)) + 400
    assert not planted.exists()


def test_arrays_of_numpys_second_format_are_read(bundle) -> None:
    with_array(head_of("(2,)", version=2) + bytes(8))(bundle)
    assert archive.read(bundle).array("head/weights/0", (2,)).tolist() == [0, 0]


def deflated() -> bytes:
    """Return an array of a gigabyte of zeros as deflate packs it."""
    compressor = zlib.compressobj(wbits=-15)
    head = compressor.compress(head_of("(250000000,)")) + compressor.flush(zlib.Z_FULL_FLUSH)
    piece = compressor.compress(bytes(10_000_000)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return head + 100 * piece + compressor.flush()


def bomb(name, method=8):
    """Return an attack: a member of a gigabyte is added, said to be packed by a method."""

    def attack(path) -> None:
        size = 1_000_000_000 + len(head_of("(250000000,)"))
        with_member(name, deflated())(path)
        last = len(members_of(path)) - 1 if name != "bundle.json" else 0
        in_table(24, size.to_bytes(4, "little"), last)(path)
        in_table(10, method.to_bytes(2, "little"), last)(path)

    return attack


def many_entries(path) -> None:
    """Give a file of 40 MB a table of contents of a million entries."""
    whole = path.read_bytes()
    first, end = whole.index(b"PK\x01\x02"), bytearray(whole[-22:])
    entry = whole[first : whole.index(b"PK\x01\x02", first + 1)]
    struct.pack_into("<2H2L", end, 8, 7, 7, len(entry) * 1_000_000, first)
    path.write_bytes(whole[:first] + entry * 1_000_000 + end)


BOMBS = {
    "deflate": (bomb("x.npy"), "'x.npy' is compressed"),
    "document": (bomb("bundle.json"), "'bundle.json' is compressed"),
    "said to be stored": (bomb("x.npy", method=0), r"'x.npy' claims 1,000,000,\d+ bytes of 9..,..."),
    "declared": (with_array(head_of("(250000000,)") + bytes(100)), "has 100 bytes, and its head announces"),
    "shared": (shared, "lies within another member"),
    "many entries": (many_entries, "table of contents takes"),
    "lists": (with_text('{"a": [' + "[]," * 600_000 + "0]}"), "more than 50,000 values"),
    "fewer lists": (with_text('{"a": [' + '{"b":[]},' * 16_000 + "0]}"), "does not say that it is one"),
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_a_hostile_bundle_is_refused_before_it_takes_memory_or_time(bundle, name) -> None:
    attack, message = BOMBS[name]
    attack(bundle)
    command = [sys.executable, "-c", READING, str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    seconds, peak, said = done.stdout.strip().split(" ", 2)
    size = bundle.stat().st_size / 1e6
    print(f"{name}, {size:.3f} MB: {float(seconds):.3f} s, {float(peak):.0f} MB: {said}")
    assert re.search(message, said.replace("\\'", "'"))
    assert float(peak) < MEGABYTES
    assert float(seconds) < SECONDS


def test_a_large_bundle_takes_its_own_size_and_a_piece(tmp_path) -> None:
    values = np.ones((10_000, 1000), dtype=np.float32)
    archive.write(tmp_path / "large.head", {}, {"x": values})
    tracemalloc.start()
    archive.read(tmp_path / "large.head").array("x", (None, 1000))
    assert tracemalloc.get_traced_memory()[1] < values.nbytes + 40e6
    tracemalloc.stop()


@pytest.mark.parametrize("number", range(4))
def test_a_file_with_bytes_changed_anywhere_is_read_or_refused(number, bundle) -> None:
    whole = bundle.read_bytes()
    generator = np.random.default_rng([5, number])
    refused = 0
    for _ in range(100):
        altered = bytearray(whole)
        for place in generator.integers(0, len(whole), generator.integers(1, 4)):
            altered[place] = generator.integers(256)
        if generator.random() < 0.2:
            del altered[generator.integers(len(whole)) :]
        bundle.write_bytes(altered)
        try:
            archive.read(bundle)
        except errors.BundleDamaged:
            refused += 1
    assert refused > 60


# Fields


def fields(**values) -> Contents:
    arrays = {"x": np.ones((2, 3), "f4"), "nan": np.array([[1, np.nan]], "f4"), "y": np.array([0, 5])}
    return Contents(Path("a.head"), values, arrays)


WRONG = {
    "missing": (lambda it: it.number("none"), "none is missing, where a number is expected"),
    "null": (lambda it: it.text("null"), "null is null, where a text is expected"),
    "bool as number": (lambda it: it.number("true"), "true is true, where a number is expected"),
    "bool as whole": (lambda it: it.whole("true"), "true is true, where a whole number from 0 to"),
    "bool in wholes": (
        lambda it: it.wholes("mixed"),
        "mixed is a list of 2 values, where a list of whole numbers",
    ),
    "text as number": (lambda it: it.number("text"), 'text is "a"'),
    "number as text": (lambda it: it.text("seven"), "seven is 7, where a text is expected"),
    "fraction": (lambda it: it.whole("half"), "half is 0.5, where a whole number"),
    "beyond floats": (lambda it: it.number("large"), "large is 9007199254740993"),
    "above": (lambda it: it.number("seven", 0, 1), "seven is 7, where a number from 0 to 1 is expected"),
    "below": (lambda it: it.number("seven", 8), "seven is 7, where a number from 8 on is expected"),
    "choice": (lambda it: it.text("text", ["b", "c"]), """is "a", where 'b' or 'c' is expected"""),
    "texts": (lambda it: it.texts("mixed"), "where a list of texts is expected"),
    "text as texts": (lambda it: it.texts("text"), "where a list of texts is expected"),
    "truth": (lambda it: it.truth("seven"), "seven is 7, where true or false is expected"),
    "object": (lambda it: it.fields("mixed"), "mixed is a list of 2 values, where an object is expected"),
    "deep": (lambda it: it.fields("inner").fields("more").number("x"), "inner.more.x is missing"),
    "long": (lambda it: it.number("long"), "x…, where a number"),
    "no array": (lambda it: it.array("z", ()), "the array z is missing"),
    "dtype": (lambda it: it.array("x", (2, 3), "float64"), "is float32 of shape .* where float64"),
    "shape": (lambda it: it.array("x", (None, 4)), r"shape \(2, 3\), where float32 of shape \(any, 4\)"),
    "axes": (lambda it: it.array("x", (6,)), r"where float32 of shape \(6\) is"),
    "NaN": (lambda it: it.array("nan", (1, 2)), "the array nan holds numbers that are infinite or none"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_field_that_is_not_what_it_must_be_is_told_with_what_it_must_be(name) -> None:
    take, message = WRONG[name]
    it = fields(
        null=None,
        true=True,
        mixed=[1, True],
        text="a",
        seven=7,
        half=0.5,
        large=2**53 + 1,
        inner={"more": {}},
        long="x" * 4000,
    )
    with pytest.raises(errors.BundleDamaged, match=message) as told:
        take(it)
    assert str(told.value).startswith("a.head: ")
    assert str(told.value).endswith("; the bundle is damaged or was altered.")
    assert len(str(told.value)) < 250


def test_fields_are_taken_as_what_they_are(bundle) -> None:
    contents = archive.read(bundle)
    head = contents.fields("head")
    assert (head.text("kind", ["svm", "mlp"]), head.number("C"), head.truth("weighted")) == ("svm", 1.5, False)
    assert head.wholes("units") == (64, 32)
    assert "kind" in head.names()
    assert not head.has("none")
    assert not head.has("nothing")
    assert contents.has_array("head/mask")
    assert head.plain("nothing") is None
