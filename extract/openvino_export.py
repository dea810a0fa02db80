"""A network as the file that OpenVINO reads: made by Keras in a process of its own, and kept for the next time.

A process has one Keras backend, and the user's may be TensorFlow: so a child process builds the network on
Keras's OpenVINO backend and exports it. That takes seconds, so that what it exported is kept in a folder of the
user's, by all that decides it. Running the file is `openvino_engine`'s work.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .backbones import Backbone
from .engines import Plan
from .weights import Weights

KEPT_BYTES = 2 * 10**9
"""How much is kept: about twenty networks as large as InceptionV3."""

_GRAPH, _NUMBERS, _ABOUT = "graph.xml", "graph.bin", "about.json"
_CALIBRATION = "calibration.npy"
_ANY_SIZE = 224  # a network for pictures of any size is followed through with pictures of this one

_CHILD = """
import json, sys
job = json.load(sys.stdin)
sys.path[:] = job["path"]
import importlib
importlib.import_module(job["module"]).export(job)
"""


@dataclass(frozen=True)
class Graph:
    """An exported network.

    Parameters
    ----------
    file : Path
        OpenVINO's .xml file; the numbers lie beside it.
    outputs : list of str
        What it yields, in order: the layers and "maps".
    keras : str
        The version of Keras that made it.
    """

    file: Path
    outputs: list[str]
    keras: str


@contextmanager
def exported(plan: Plan, calibration: NDArray[np.float32]) -> Iterator[Graph]:
    """Yield the exported network of `plan`, which is there as long as the context.

    Parameters
    ----------
    plan : Plan
    calibration : ndarray of float32, shape (3, h, w, 3)
        The canaries' scaled pixels, for random weights.

    Raises
    ------
    WeightsError, UsageError, MissingDependency
        As `networks.assemble` raises them, in the process that made it.
    """
    home = None if plan.trust_model else _home()
    entry = home / _key(plan, calibration) if home else None
    if entry is not None and (graph := _read(entry)) is not None:
        with suppress(OSError):
            os.utime(entry)  # the newest are kept
        yield graph
        return
    with tempfile.TemporaryDirectory(prefix="icehouse-", dir=home, ignore_cleanup_errors=True) as folder:
        made = Path(folder) / "network"
        made.mkdir()
        _export_in_child(plan, calibration, made)
        graph = _read(made)
        if graph is None:
            raise errors.IcehouseError(f"What Keras exported for OpenVINO was damaged on its way to {made}.")
        if home is not None and entry is not None:
            graph = _keep(made, entry) or graph
            _forget_oldest(home, but=entry)
        yield graph


def _export_in_child(plan: Plan, calibration: NDArray[np.float32], folder: Path) -> None:
    np.save(folder.parent / _CALIBRATION, calibration)
    job = {
        "path": sys.path,
        "module": __name__,
        "folder": str(folder.absolute()),
        "plan": asdict(plan),
    }
    child = subprocess.run(
        [sys.executable, "-P", "-c", _CHILD],
        input=json.dumps(job, default=str),
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "openvino", "TF_CPP_MIN_LOG_LEVEL": "3"},
        start_new_session=True,  # Ctrl-C is for the command, which decides what is stopped
        check=False,
    )
    about = folder / _ABOUT
    said = json.loads(about.read_text(encoding="utf-8")) if about.exists() else {}
    if "error" in said:
        raise getattr(errors, said["error"])(said["message"])
    if child.returncode or not said:
        last = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise errors.IcehouseError(
            f"Keras could not export {plan.backbone.name} for OpenVINO: use --engine keras. ({last[:200]})"
        )


def export(job: dict[str, Any]) -> None:
    """Build the network that `job` describes and write it into its folder: the child process's whole work."""
    folder = Path(job["folder"])
    try:
        about = _export(_plan_of(job["plan"]), np.load(folder.parent / _CALIBRATION), folder)
    except errors.IcehouseError as error:
        about = {"error": type(error).__name__, "message": str(error)}
    (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")


def _export(plan: Plan, calibration: NDArray[np.float32], folder: Path) -> dict[str, Any]:
    try:
        import keras
    except ImportError as error:
        raise errors.MissingDependency(
            f"Keras cannot be imported on OpenVINO ({error}): pip install 'icehouse[openvino]'."
        ) from None
    from . import networks

    keras.config.set_floatx("float32")
    model = networks.assemble(plan, calibration, _run_once)
    outputs = dict(model.output)
    size = plan.size or _ANY_SIZE
    _write(keras.Model(model.input, list(outputs.values())), (size, size), folder / _GRAPH)
    return {
        "outputs": list(outputs),
        "keras": keras.__version__,
        "sha256": {name: _digest(folder / name) for name in (_GRAPH, _NUMBERS)},
    }


def _write(model: Any, size: tuple[int, int], file: Path) -> None:
    """Write a Keras model as OpenVINO's file, rearranged to be quick."""
    import keras
    import openvino

    from .openvino_graph import carry_transpositions

    raw = file.with_name(f"keras-{file.name}")
    signature = [keras.InputSpec(shape=(None, *size, 3), dtype="float32")]
    model.export(str(raw), format="openvino", verbose=False, input_signature=signature)
    graph = openvino.Core().read_model(raw)
    carry_transpositions(graph)
    openvino.serialize(graph, file)
    del graph  # it holds the file of numbers open
    for path in (raw, raw.with_suffix(".bin")):
        path.unlink()


def _run_once(model: Any, pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Run a Keras model in float32; Keras itself would let OpenVINO choose the precision."""
    import openvino

    with tempfile.TemporaryDirectory(prefix="icehouse-", ignore_cleanup_errors=True) as folder:
        file = Path(folder) / _GRAPH
        _write(model, pixels.shape[1:3], file)
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = compiled(pixels)
        return [np.array(found[output]) for output in compiled.outputs]


def _plan_of(document: dict[str, Any]) -> Plan:
    """Return the plan that `asdict` and JSON made `document` of."""
    backbone, weights = document["backbone"], document["weights"]
    for described, name in ((backbone, "model"), (weights, "path")):
        if described.get(name) is not None:
            described[name] = Path(described[name])
    return Plan(
        **{
            **document,
            "backbone": Backbone(**backbone),
            "weights": Weights(**weights),
            "layers": tuple(document["layers"]),
        }
    )


def _home() -> Path | None:
    """Return the folder where exported networks are kept; None if there is none that is the user's alone."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "icehouse" / "openvino"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        others_may_write = folder.stat().st_mode & 0o022
        return folder if _is_ours(folder) and not others_may_write and os.access(folder, os.W_OK) else None
    except OSError:
        return None


def _is_ours(path: Path) -> bool:
    """Whether `path` is a file or a folder, no link, that belongs to the user."""
    found = path.lstat()
    plain = stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)
    return plain and (not hasattr(os, "getuid") or found.st_uid == os.getuid())


def _key(plan: Plan, calibration: NDArray[np.float32]) -> str:
    """Return the digest of all that decides the graph: what was asked for, and the code that makes it."""
    code = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        code.update(file.read_bytes())
    described = asdict(plan)
    for name in ("engine", "precision"):  # what OpenVINO is told when it reads the graph
        del described[name]
    described["weights"] = plan.weights.identity
    if model := described["backbone"].pop("model", None):
        described["model"] = _digest(model)
    decides = {
        "plan": described,
        "calibration": hashlib.sha256(calibration.tobytes()).hexdigest() if plan.weights.path is None else None,
        "versions": {name: _version(name) for name in ("keras", "openvino", "numpy")},
        "code": code.hexdigest(),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # it came under another name, as nightly builds do
        return "unknown"


def _read(folder: Path) -> Graph | None:
    """Return the network that a folder holds, if it is the user's and whole."""
    try:
        if not all(
            _is_ours(path) for path in (folder, *(folder / name for name in (_GRAPH, _NUMBERS, _ABOUT)))
        ):
            return None
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        if any(_digest(folder / name) != about["sha256"][name] for name in (_GRAPH, _NUMBERS)):
            return None
        return Graph(folder / _GRAPH, list(about["outputs"]), str(about["keras"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(made: Path, entry: Path) -> Graph | None:
    """Give a finished folder its name; what lay there was damaged, or another process was quicker."""
    with suppress(OSError):
        if _read(entry) is None:
            shutil.rmtree(entry, ignore_errors=True)
            made.rename(entry)
    return _read(entry)


def _forget_oldest(home: Path, but: Path) -> None:
    """Delete what was not used for longest, and what killed processes left, until the rest is small enough."""
    with suppress(OSError):
        kept = 0
        folders = [path for path in home.iterdir() if path.is_dir() and not path.is_symlink()]
        for folder in sorted(folders, key=lambda path: (path == but, path.stat().st_mtime), reverse=True):
            kept += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            if kept > KEPT_BYTES and folder != but:
                shutil.rmtree(folder, ignore_errors=True)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
