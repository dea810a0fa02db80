"""Promises about the house itself: floors, imports, what stays out of memory, what the README says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import icehouse
import numpy as np
import pytest
from icehouse.cli import main

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("cache", "extract", "classify", "bundle", "explain", "audit", "report")
FLOORS = {
    "errors": 0,
    "cache": 1,
    "extract": 2,
    "classify": 2,
    "bundle": 3,
    "explain": 3,
    "audit": 3,
    "report": 3,
    "api": 4,
    "scoring": 4,
    "explaining": 4,
    "auditing": 4,
    "finding": 4,
    "survey": 4,
    "console": 4,
    "gallery": 5,
    "mapping": 5,
    "reporting": 6,
    "judging": 7,
    "fitted": 8,
    "demo": 9,
    "experiment": 9,
    "cli": 10,
}
FRAMEWORKS = {"keras", "tensorflow", "jax", "torch", "openvino"}


def modules() -> list[Path]:
    return [*ROOT.glob("*.py"), *(path for package in PACKAGES for path in (ROOT / package).glob("*.py"))]


def room_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    if relative.stem.endswith(("commands", "_command")):  # of the command line, beside the room that they serve
        return "cli"
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms of the house that a module imports, at its top or inside functions."""
    depth = len(path.relative_to(ROOT).parts)
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            rooms.update([node.module.split(".")[0]] if node.module else [alias.name for alias in node.names])
    return rooms & set(FLOORS)


def test_no_module_imports_from_a_floor_above_or_beside_its_own() -> None:
    for path in modules():
        room = room_of(path)
        if room == "__init__":
            continue
        for other in imported_rooms(path) - {room}:
            assert FLOORS[other] < FLOORS[room], f"{path.name} of {room} imports {other}"


def test_frameworks_are_imported_inside_functions_of_the_rooms_that_run_networks() -> None:
    allowed = {
        "efficientnet_lite.py",
        "engines.py",
        "keras_engine.py",
        "layers.py",
        "model_files.py",
        "networks.py",
        "openvino_engine.py",
        "openvino_export.py",
        "openvino_graph.py",
    }
    for path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = {id(node) for node in tree.body}
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if FRAMEWORKS & {name.split(".")[0] for name in names}:
                assert path.name in allowed, f"{path} imports {names}"
                assert id(node) not in top, f"{path} imports {names} at its top"


def test_no_module_has_outgrown_400_lines() -> None:
    for path in modules():
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path


def loaded_by(code: str, cwd: Path) -> set[str]:
    """Return the modules that are loaded after `code` has run in a fresh interpreter."""
    script = f"{code}\nimport sys; print('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], cwd=cwd, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        "['--help']",
        "['heads']",
        "['backbones']",
        "['cache', 'info', 'features.h5']",
        "['cache', 'verify', 'features.h5']",
        "['cache', 'split', 'features.h5', '-o', 'parts', '--by', 'label']",
        "['cache', 'export', 'features.h5', '-o', 'features.npz']",
        "['classify', 'features.h5', '-o', 'run', '--rounds', '2', '--quiet']",
        "['fit', 'features.h5', '--head', 'svm', '-o', 'svm.head', '--quiet']",
        "['bundle', 'info', 'model.head']",
        "['predict', 'model.head', 'features.h5', '-o', 'predictions.csv', '--quiet']",
        "['evaluate', 'model.head', 'features.h5', '--allow-training', '--quiet']",
        "['report', 'features.h5', '--quiet']",
        "['audit', 'features.h5', '-o', 'audit.html', '--quiet']",
    ],
)
def test_what_lies_behind_the_cache_never_loads_a_framework(
    arguments, make_cache, two_clouds, tmp_path
) -> None:
    cache = make_cache(*two_clouds)
    icehouse.fit_head(cache, "logistic", out=tmp_path / "model.head")
    code = f"from icehouse.cli import main\nmain({arguments}, standalone_mode=False)"
    assert not FRAMEWORKS & loaded_by(code, tmp_path)


def test_the_help_loads_nothing_heavy(tmp_path) -> None:
    loaded = loaded_by("from icehouse.cli import main\nmain(['--help'], standalone_mode=False)", tmp_path)
    assert not {"numpy", "h5py", "rich", "sklearn", "xgboost", "plotly", "jinja2"} & loaded


def test_the_public_names_are_few_and_none_is_a_package_of_ours() -> None:
    assert set(icehouse.__all__) >= {"extract_features", "open_cache", "run_rounds", "__version__"}
    assert not set(icehouse.__all__) & {*PACKAGES, "api", "cli", "console", "errors"}
    for name in icehouse.__all__:
        assert getattr(icehouse, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'extract_everything'"):
        icehouse.extract_everything  # noqa: B018  (looking it up is the test)


def test_the_readme_and_every_report_carry_the_disclaimer() -> None:
    assert "not a medical device" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "not a medical device" in main.help


def test_ci_takes_its_commands_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```bash\n(.*?)```", readme, flags=re.DOTALL)
    assert block is not None
    first, second = block.group(1).strip().splitlines()
    assert first.endswith("icehouse demo")
    assert second.endswith("pytest tests")


def test_vectors_are_the_same_array_that_h5py_reads(make_cache, two_clouds) -> None:
    import h5py

    path = make_cache(*two_clouds)
    with h5py.File(path) as file, icehouse.open_cache(path) as cache:  # one reader locks, the other does not
        np.testing.assert_array_equal(file["vectors/avg_pool"][()], cache.X)
        assert file["samples/label"].asstr()[()].tolist() == cache.samples.label.tolist()
    with icehouse.open_cache(path) as cache, h5py.File(path, locking=False) as file:
        np.testing.assert_array_equal(file["vectors/avg_pool"][()], cache.X)
