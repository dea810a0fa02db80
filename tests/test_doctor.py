"""Promises about the doctor: it runs whatever is missing, finds what is wrong, and says what mends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from icehouse import errors
from icehouse.cache.staging import Staging
from icehouse.extract import doctor, machine, trial
from icehouse.extract.doctor import FAIL, PASS, WARN, Check
from icehouse.report.doctor import doctor_text
from making import block_of
from small_network import FULL

DIAGNOSE = """
import json, sys
sys.modules.update(dict.fromkeys(sys.argv[2].split()))  # as if they were not installed
from pathlib import Path
from icehouse.extract import doctor
print(json.dumps([check.as_dict() for check in doctor.diagnose(Path(sys.argv[1]))]))
"""
FRAMEWORKS = "keras tensorflow jax torch openvino"


@pytest.fixture(autouse=True)
def _no_backend_chosen(monkeypatch) -> None:
    """Forget the backend that tests before have loaded."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


def diagnosed(folder: Path, *, without: str = FRAMEWORKS) -> list[Check]:
    command = [sys.executable, "-c", DIAGNOSE, str(folder), without]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [Check(**check) for check in json.loads(done.stdout)]


def of_area(checks: list[Check], area: str) -> Check:
    (found,) = [check for check in checks if check.area == area]
    return found


def test_without_any_framework_it_runs_and_says_what_is_missing_and_what_works(tmp_path) -> None:
    checks = diagnosed(tmp_path)
    engines = of_area(checks, "engines")
    assert engines.status == WARN
    assert "pip install 'icehouse[extract]'" in engines.remedy
    assert "everything behind a cache works" in engines.remedy
    assert of_area(checks, "libraries: always needed").status == PASS
    assert [check for check in checks if check.status == FAIL] == []
    assert {check.area for check in checks} >= {
        "python",
        "machine",
        "graphics card",
        "weights",
        "disk",
        "locks",
    }
    assert all(check.remedy for check in checks if check.status != PASS)


def test_a_weights_folder_that_does_not_exist_fails(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ICEHOUSE_WEIGHTS", str(tmp_path / "nowhere"))
    (failed,) = [check for check in diagnosed(tmp_path) if check.status == FAIL]
    assert failed.area == "weights"
    assert str(tmp_path / "nowhere") in failed.what


def test_what_waits_in_the_folder_is_told_with_who_writes_there(tmp_path) -> None:
    with Staging(tmp_path / "live.h5") as live:
        with Staging(tmp_path / "dead.h5") as dead:
            dead.begin({"kind": "by hand"})
            dead.add(block_of(np.zeros((3, 32), dtype=np.uint8), np.ones((3, 8))))
        live.begin({"kind": "by hand"})
        left, written = [check for check in diagnosed(tmp_path) if check.area == "locks"]
    assert (left.status, written.status) == (WARN, PASS)
    assert "An extraction to dead.h5 was ended and left 1 block" in left.what
    assert "Repeat that icehouse extract" in left.remedy
    assert f"live.h5 is being written to by process {os.getpid()}" in written.what


def test_a_folder_that_does_not_exist_is_wrong_usage(tmp_path) -> None:
    with pytest.raises(errors.UsageError, match="no folder"):
        doctor.diagnose(tmp_path / "nowhere")


def test_a_disk_is_tried_and_left_as_it_was(tmp_path) -> None:
    disk = machine.disk_of(tmp_path)
    assert (disk.refused, disk.locks) == ("", True)
    assert disk.free > 0
    assert list(tmp_path.iterdir()) == []
    assert machine.disk_of(Path("/proc")).refused


def package(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(textwrap.dedent(code))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import time; time.sleep(60)", "did not answer within 4 seconds"),
        ("import os; os.kill(os.getpid(), 11)", "exit code -11"),
        ("raise ImportError('libcudart.so.12 is missing')", "libcudart.so.12 is missing"),
        ("raise RuntimeError('built for another processor')", "built for another processor"),
    ],
)
def test_a_framework_that_hangs_crashes_or_is_broken_takes_nobody_with_it(
    tmp_path, monkeypatch, code, words
) -> None:
    package(tmp_path, "keras", code)
    monkeypatch.syspath_prepend(tmp_path)
    found = trial.result(trial.start("keras"), seconds=4)
    assert words in found["error"]


def test_engines_that_do_not_run_or_disagree_fail_and_say_by_how_much() -> None:
    ones = np.ones((3, 8))
    sound = {
        "name": "keras-tensorflow",
        "device": "cpu",
        "precisions": ["float32"],
        "libraries": {"keras": "3"},
    }

    def statuses(**vectors: np.ndarray) -> dict[str, list[str]]:
        results = {name: {**sound, "vectors": array.tolist()} for name, array in vectors.items()}
        return {check.area: [check.status, check.what] for check in doctor.engine_checks(results)}

    assert statuses(keras=ones, openvino=ones * (1 + 1e-7))["engines"][0] == PASS
    apart = statuses(keras=ones, openvino=ones * 1.01)["engines"]
    assert apart[0] == FAIL
    assert "1.0e-02 apart" in apart[1]
    assert statuses(keras=ones * np.nan)["engine keras"][0] == FAIL
    (broken,) = doctor.engine_checks({"keras": {"error": "it did not answer"}})
    assert broken.status == FAIL


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="loads TensorFlow; set ICEHOUSE_FULL=1")
def test_every_engine_that_is_installed_really_runs(tmp_path) -> None:
    checks = diagnosed(tmp_path, without="")
    assert of_area(checks, "engine keras").status == PASS
    assert [check for check in checks if check.status == FAIL] == []


def test_the_text_has_a_line_for_each_check_with_its_remedy_below() -> None:
    checks = [Check("python", PASS, "3.13"), Check("disk", WARN, "little room", "Make room.")]
    assert doctor_text([check.as_dict() for check in checks]).splitlines() == [
        "PASS  python: 3.13",
        "WARN  disk: little room",
        "      → Make room.",
        "1 PASS, 1 WARN, 0 FAIL",
    ]


def test_a_backend_of_keras_that_is_not_there_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    first, *_ = [check for check in diagnosed(tmp_path) if check.area == "engines"]
    assert first.status == WARN
    assert "KERAS_BACKEND is 'numpy'" in first.what
