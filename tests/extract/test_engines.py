"""Promises about engines: they agree, compute in the precision they say, and need no more than they must."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from icehouse import errors
from icehouse.cache import drift
from icehouse.extract import backbones, canaries, engines, openvino_export, weights
from icehouse.extract.decode import Preparation
from making import plan_of
from small_network import FULL

PICTURES = np.random.default_rng(8).uniform(0, 255, (5, 224, 224, 3)).astype(np.float32)
FAMILIES = (
    "vgg16",
    "resnet50",
    "resnet50v2",
    "densenet121",
    "inceptionv3",
    "inceptionresnetv2",
    "xception",
    "mobilenetv2",
    "efficientnetb0",
    "efficientnetv2b0",
    "nasnetmobile",
    "efficientnetlite0",
)

SCRIPT = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
import numpy as np
from dataclasses import replace
from icehouse.extract import backbones, canaries, engines, weights
from icehouse.extract.decode import Preparation
from making import plan_of

backbone = backbones.find("efficientnetlite0")
plan = plan_of(backbone, weights.resolve("imagenet", backbone))
plan = replace(plan, engine=engines.choose(sys.argv[2]))
engine = engines.load(plan, 3, canaries.pixels(Preparation(224)))
pictures = np.random.default_rng(8).uniform(0, 255, (5, 224, 224, 3)).astype(np.float32)
halves = [engine.run(pictures[:3]).vectors["avg_pool"], engine.run(pictures[3:]).vectors["avg_pool"]]
np.save(sys.argv[3], np.concatenate(halves))
print(json.dumps({"engine": engine.name, "loaded": [name for name in sys.modules if "." not in name]}))
"""
"""Computes the vectors of `PICTURES` in a process of its own."""


HIDING = """
import os
from importlib.machinery import PathFinder

if hidden := os.environ.get("HIDDEN"):
    find = PathFinder.find_spec
    names = hidden.split()
    PathFinder.find_spec = lambda name, *more: None if name.split(".")[0] in names else find(name, *more)
"""
"""Python runs this as it starts: what is hidden is as if it were not installed."""


def run_script(engine: str, file: Path, **environment: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(sys.path), engine, str(file)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def lite(**changes: object) -> engines.Plan:
    backbone = backbones.find("efficientnetlite0")
    plan = plan_of(backbone, weights.resolve("imagenet", backbone))
    return replace(plan, **{"engine": "openvino", **changes})


def load(plan: engines.Plan, batch_size: int = 8) -> engines.Engine:
    size = plan.size or plan.backbone.size
    return engines.load(plan, batch_size, canaries.pixels(Preparation(size)))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest relative distance between the rows of two sets of vectors."""
    return float((np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max())


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory) -> Iterator[Path]:
    """Keep exported networks in a folder of the tests', and let their processes find OpenVINO alone."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "sitecustomize.py").write_text(HIDING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("HIDDEN", "tensorflow jax torch")
        patch.delenv("KERAS_BACKEND", raising=False)
        yield folder


@pytest.fixture(scope="module")
def alone(home) -> np.ndarray:
    """Return the vectors of `PICTURES` by OpenVINO in an environment without TensorFlow, JAX and PyTorch."""
    said = run_script("auto", home / "alone.npy")
    assert said["engine"] == "openvino"
    return np.load(home / "alone.npy")


@pytest.fixture(scope="module")
def openvino(alone) -> engines.Engine:
    return load(lite())


@pytest.fixture(scope="module")
def tensorflow() -> engines.Engine:
    return load(lite(engine="keras"))


def test_openvino_without_any_other_framework_agrees_with_tensorflow(alone, tensorflow) -> None:
    assert tensorflow.name == "keras-tensorflow"
    assert distance(alone, tensorflow.run(PICTURES).vectors["avg_pool"]) < 1e-5


def test_maps_and_vectors_of_engines_have_the_same_shapes(openvino, tensorflow) -> None:
    ours, theirs = openvino.run(PICTURES[:2]), tensorflow.run(PICTURES[:2])
    assert openvino.dimensions == tensorflow.dimensions == {"avg_pool": 1280}
    assert ours.maps.shape == theirs.maps.shape == (2, 7, 7, 1280)
    assert ours.maps.dtype == theirs.maps.dtype == np.float32
    assert distance(ours.maps.reshape(2, -1), theirs.maps.reshape(2, -1)) < 1e-5


def test_a_vector_of_openvino_does_not_depend_on_its_place_or_company_in_a_batch(openvino) -> None:
    together = openvino.run(PICTURES).vectors["avg_pool"]
    backwards = openvino.run(PICTURES[::-1]).vectors["avg_pool"][::-1]
    single = np.concatenate([openvino.run(picture[None]).vectors["avg_pool"] for picture in PICTURES])
    assert distance(backwards, together) <= 1e-6
    assert distance(single, together) <= 1e-6


def test_what_was_exported_is_kept_and_the_next_process_needs_no_keras(alone, home) -> None:
    said = run_script("openvino", home / "again.npy")
    np.testing.assert_array_equal(np.load(home / "again.npy"), alone)
    assert not {"keras", "tensorflow", "jax", "torch"} & set(said["loaded"])


def spoil(how: str, entry: Path) -> None:
    """Damage a kept network, or make it another's."""
    if how == "a flipped bit":
        held = bytearray((entry / "graph.bin").read_bytes())
        held[len(held) // 2] ^= 4
        (entry / "graph.bin").write_bytes(held)
    elif how == "a truncated file":
        os.truncate(entry / "graph.xml", 1000)
    elif how == "no description":
        (entry / "about.json").write_text("{}")
    elif how == "a link":
        shutil.copy(entry / "graph.bin", entry.parent.parent / "elsewhere.bin")
        (entry / "graph.bin").unlink()
        (entry / "graph.bin").symlink_to(entry.parent.parent / "elsewhere.bin")
    else:
        os.chown(entry / "graph.xml", 12345, -1)


@pytest.mark.parametrize(
    "how", ["a flipped bit", "a truncated file", "no description", "a link", "another owner"]
)
def test_a_kept_network_that_is_damaged_or_not_the_users_is_not_used(
    how, alone, home, tmp_path, monkeypatch
) -> None:
    if how == "another owner" and os.geteuid() != 0:
        pytest.skip("only root can give a file to somebody else")
    (entry,) = (home / "icehouse" / "openvino").iterdir()
    copied = tmp_path / "icehouse" / "openvino"
    copied.mkdir(parents=True, mode=0o700)
    shutil.copytree(entry, copied / entry.name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))  # so that nothing can be exported anew
    load(lite())
    spoil(how, copied / entry.name)
    with pytest.raises(FileNotFoundError, match="no-python"):
        load(lite())


def test_a_damaged_network_is_made_anew_without_a_word_and_the_oldest_are_forgotten(
    alone, home, tmp_path, monkeypatch, capfd
) -> None:
    kept = tmp_path / "icehouse" / "openvino"
    shutil.copytree(home / "icehouse" / "openvino", kept)
    kept.chmod(0o700)
    (entry,) = kept.iterdir()
    spoil("a flipped bit", entry)
    (kept / "older").mkdir()
    (kept / "older" / "graph.bin").write_bytes(bytes(10_000))
    os.utime(kept / "older", (1, 1))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(openvino_export, "KEPT_BYTES", 10_000)
    np.testing.assert_array_equal(load(lite()).run(PICTURES).vectors["avg_pool"], alone)
    assert list(kept.iterdir()) == [entry]
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    np.testing.assert_array_equal(load(lite()).run(PICTURES).vectors["avg_pool"], alone)
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_others_may_write_to_is_not_used(alone, home, tmp_path, monkeypatch) -> None:
    shutil.copytree(home / "icehouse", tmp_path / "icehouse")
    (tmp_path / "icehouse" / "openvino").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(FileNotFoundError, match="no-python"):
        load(lite())


def test_weights_that_do_not_fit_are_refused_as_if_the_network_were_built_here(tmp_path) -> None:
    wrong = tmp_path / "wrong.weights.h5"
    wrong.write_bytes(b"not HDF5")
    with pytest.raises(errors.WeightsError, match=r"wrong\.weights\.h5 does not hold weights of efficientnetl"):
        load(replace(lite(), weights=weights.Weights("sha256:0", wrong)))


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="only with ICEHOUSE_FULL=1")
def test_a_layer_that_the_network_has_not_is_refused_as_if_it_were_built_here() -> None:
    with pytest.raises(errors.UsageError, match="no layer 'nowhere'"):
        load(lite(layers=("avg_pool", "nowhere")))


def can_compute_in(precision: str) -> bool:
    import openvino

    names = {"bfloat16": "BF16", "float16": "FP16"}
    return names[precision] in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_openvino_computes_in_the_precision_asked_for_or_refuses(precision, openvino, alone) -> None:
    assert openvino.precision == "float32"
    plan = lite(precision=precision)
    if can_compute_in(precision):
        engine = load(plan)
        assert engine.precision == precision
        assert 1e-4 < distance(engine.run(PICTURES).vectors["avg_pool"], alone) < 0.5
    else:
        with pytest.raises(errors.UsageError, match=f"and {precision} was asked for: use --precision float32"):
            load(plan)


def test_keras_computes_in_the_precision_asked_for(tensorflow) -> None:
    assert tensorflow.precision == "float32"
    engine = load(lite(engine="keras", precision="bfloat16", size=64), batch_size=3)
    output = engine.run(PICTURES[:2, :64, :64])
    assert engine.precision == "bfloat16"
    assert output.vectors["avg_pool"].dtype == output.maps.dtype == np.float32
    assert output.maps.any()
    assert not (output.maps.view(np.uint32) & 0xFFFF).any()  # the digits that bfloat16 has not


def test_pictures_of_any_size_give_the_same_vectors_on_both_engines(alone, tensorflow) -> None:
    small = PICTURES[:2, :160, :131]
    ours, theirs = (load(lite(engine=name, size=None)) for name in ("openvino", "keras"))
    assert ours.run(small).maps.shape == (2, 5, 5, 1280)
    assert distance(ours.run(small).vectors["avg_pool"], theirs.run(small).vectors["avg_pool"]) < 1e-5
    assert distance(ours.run(PICTURES).vectors["avg_pool"], alone) <= 1e-6


def test_a_smaller_batch_after_memory_ran_out_changes_no_vector(tensorflow) -> None:
    before = tensorflow.run(PICTURES[:1]).vectors["avg_pool"]
    kept, tensorflow.batch_size = tensorflow.batch_size, 1
    try:
        assert distance(tensorflow.run(PICTURES[:1]).vectors["avg_pool"], before) <= 1e-6
    finally:
        tensorflow.batch_size = kept


TOO_LARGE = """
import json, resource, sys
sys.path[:] = json.loads(sys.argv[1])
import numpy as np
from dataclasses import replace
from icehouse.extract import backbones, canaries, engines, weights
from icehouse.extract.decode import Preparation
from making import plan_of

backbone = backbones.find("efficientnetlite0")
plan = replace(plan_of(backbone, weights.resolve("imagenet", backbone)), engine="openvino", size=None)
pixels = canaries.pixels(Preparation(224))
engine = engines.load(plan, 3, pixels)
before = engine.run(pixels).vectors["avg_pool"]
huge = np.zeros((1, 3000, 3000, 3), dtype=np.float32)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 1000 * 2**20, resource.RLIM_INFINITY))
try:
    engine.run(huge)
except Exception as error:
    assert engines.is_out_of_memory(error), error
    np.testing.assert_array_equal(engine.run(pixels).vectors["avg_pool"], before)
    print("went on")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
def test_openvino_says_that_memory_ran_out_and_goes_on_with_smaller_pictures(home) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOO_LARGE, json.dumps(sys.path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["went on"], done.stderr


def test_running_out_of_memory_is_told_from_other_failures() -> None:
    import tensorflow

    with pytest.raises(MemoryError) as numpys:
        np.empty(2**57)
    with pytest.raises(tensorflow.errors.ResourceExhaustedError) as tensorflows:
        tensorflow.zeros(2**45)
    with pytest.raises(tensorflow.errors.InvalidArgumentError) as other:
        tensorflow.reshape(tensorflow.zeros(3), (2,))
    assert engines.is_out_of_memory(numpys.value)
    assert engines.is_out_of_memory(tensorflows.value)
    assert not engines.is_out_of_memory(other.value)
    for said in (
        "RESOURCE_EXHAUSTED: Out of memory allocating 140737488355328 bytes.",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory",
        "Exception from src/inference/src/cpp/infer_request.cpp:224: could not create a memory object",
        "std::bad_alloc",
    ):
        assert engines.is_out_of_memory(RuntimeError(said))
    assert not engines.is_out_of_memory(RuntimeError("Cannot reshape a tensor of 3 numbers"))


CHOOSING = """
import json, os, sys
sys.path[:] = json.loads(sys.argv[1])
from icehouse import errors
from icehouse.extract import engines

for engine, missing, backend in json.loads(sys.argv[2]):
    for name in ("keras", "openvino", "tensorflow", "jax", "torch"):
        sys.modules.pop(name, None)
    sys.modules.update(dict.fromkeys(missing))
    os.environ.pop("KERAS_BACKEND", None)
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    try:
        chosen = engines.choose(engine)
        print(engines.name_of(chosen))
    except errors.IcehouseError as error:
        print(type(error).__name__, error)
loaded = [name for name in ("keras", "openvino", "tensorflow", "jax", "torch") if sys.modules.get(name)]
print(loaded)
"""


@pytest.mark.skipif(engines._has_nvidia_device(), reason="what is chosen here depends on the GPU")
def test_an_engine_is_chosen_by_what_is_installed_and_nothing_is_loaded_for_it() -> None:
    no_backend = ("tensorflow", "jax", "torch")
    cases = {
        ("auto", (), ""): "openvino",
        ("auto", ("openvino",), ""): "keras-tensorflow",
        (
            "auto",
            ("openvino", *no_backend),
            "",
        ): "MissingDependency .*not installed: pip install 'icehouse.open",
        (
            "keras",
            ("tensorflow",),
            "tensorflow",
        ): "MissingDependency .*KERAS_BACKEND=tensorflow, which is not installed.*: unset it",
        ("auto", no_backend, ""): "openvino",
        ("keras", (), ""): "keras-tensorflow",
        ("keras", no_backend, ""): "MissingDependency .*and they are not installed: pip install",
        ("keras", (), "openvino"): "MissingDependency .*KERAS_BACKEND=openvino.*--engine openvino",
        ("openvino", ("openvino",), ""): "MissingDependency .*pip install 'icehouse.openvino.'",
        ("auto", ("keras",), ""): "MissingDependency .*not installed: pip install 'icehouse.openvino.'",
        ("tpu", (), ""): "UsageError .*no engine 'tpu'. Known: auto, keras, openvino",
    }
    done = subprocess.run(
        [sys.executable, "-c", CHOOSING, json.dumps(sys.path), json.dumps(list(cases))],
        env={**os.environ, "HIDDEN": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    *found, loaded = done.stdout.splitlines()
    assert loaded == "[]"
    for (case, expected), line in zip(cases.items(), found, strict=True):
        assert re.match(expected, line), (case, line)


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="JAX compiles for a minute: only with ICEHOUSE_FULL=1")
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_keras_on_jax_agrees_with_openvino(alone, home) -> None:
    said = run_script("keras", home / "jax.npy", KERAS_BACKEND="jax", HIDDEN="")
    assert said["engine"] == "keras-jax"
    assert "tensorflow" not in said["loaded"]
    assert distance(np.load(home / "jax.npy"), alone) < 1e-5


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="only with ICEHOUSE_FULL=1")
@pytest.mark.parametrize("name", [name for name in FAMILIES if name in backbones.BACKBONES])
def test_engines_agree_on_random_weights_of_every_family(name) -> None:
    backbone = backbones.find(name)
    plan = plan_of(backbone, weights.resolve("random:1", backbone))
    pixels = canaries.pixels(Preparation(backbone.size))
    ours, theirs = (load(replace(plan, engine=engine)).run(pixels) for engine in ("openvino", "keras"))
    assert drift.distance(ours.vectors, theirs.vectors) < 1e-5
    assert distance(ours.maps.reshape(3, -1), theirs.maps.reshape(3, -1)) < 1e-3


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="only with ICEHOUSE_FULL=1")
def test_engines_agree_on_trained_weights_of_inceptionv3(shared) -> None:
    backbone = backbones.find("inceptionv3")
    file = shared / "weights" / "inceptionv3_trained.weights.h5"
    plan = plan_of(backbone, weights.resolve(str(file), backbone))
    pixels = canaries.pixels(Preparation(299))
    ours, theirs = (load(replace(plan, engine=engine)).run(pixels) for engine in ("openvino", "keras"))
    assert distance(ours.vectors["avg_pool"], theirs.vectors["avg_pool"]) < 1e-5
