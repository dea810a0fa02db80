"""Promises about `icehouse report` and `Run.report`: what a page is of, and what it says is gone."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from icehouse import run_rounds
from icehouse.cli import main
from making_runs import clouds_cache

pytest.importorskip("plotly")

QUIET = {"note": lambda _: None}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Return a folder with a cache and three runs on it, two of them on the same splits."""
    folder = tmp_path_factory.mktemp("made")
    cache = clouds_cache(folder / "features.h5", ["covid", "normal"], 64)
    run_rounds(cache, ["lda", "mlp:epochs=3"], rounds=3, out=folder / "run", **QUIET)
    run_rounds(cache, ["knn"], splits=folder / "run", out=folder / "same", **QUIET)
    run_rounds(cache, ["knn"], rounds=2, seed=1, controls=False, out=folder / "other", **QUIET)
    return folder


@pytest.fixture
def report(monkeypatch, made, tmp_path):
    """Return a function that runs `icehouse report` in the folder of the runs, and writes to the test's own."""
    monkeypatch.chdir(made)

    def run(*arguments: str, code: int = 0, out: str = "report.html"):
        done = CliRunner().invoke(main, ["report", *arguments, "-o", str(tmp_path / out)])
        assert done.exit_code == code, done.output
        return done

    return run


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_a_run_becomes_one_page_that_says_what_it_is_and_that_it_is_no_medical_device(report, tmp_path) -> None:
    done = report("run")
    page = text_of(tmp_path / "report.html")
    assert "<title>Run run" in page
    for title in ("Results", "Confusion matrices", "Controls", "Training", "Map of the vectors", "Cache"):
        assert f">{title}<" in page
    assert "icehouse classify features.h5 -o run" in page.replace(str(Path.cwd()) + "/", "")
    assert "not a medical device" in page
    assert "not a medical device" in done.stdout


def test_images_that_are_gone_are_said_to_be_and_what_to_do(report, tmp_path) -> None:
    done = report("run")
    assert "--images DIR" in done.stderr
    assert "--images DIR" in text_of(tmp_path / "report.html")


def test_a_run_in_memory_shows_what_the_same_run_on_disk_shows(made, tmp_path) -> None:
    run = run_rounds(made / "features.h5", ["lda"], rounds=2, **QUIET)
    run.report(tmp_path / "memory.html", maps=False, **QUIET)
    kept = run_rounds(made / "features.h5", ["lda"], rounds=2, out=tmp_path / "run", **QUIET)
    kept.report(tmp_path / "disk.html", maps=False, **QUIET)
    memory, disk = (text_of(tmp_path / f"{name}.html") for name in ("memory", "disk"))
    assert memory == disk.replace(str(tmp_path / "run"), "run")


def test_runs_on_the_same_splits_are_compared_and_others_say_why_not(report, tmp_path) -> None:
    report("run", "same", out="two.html")
    assert "same/knn" in text_of(tmp_path / "two.html")
    assert "cannot be compared" not in text_of(tmp_path / "two.html")
    report("run", "other", out="three.html")
    page = text_of(tmp_path / "three.html")
    assert "cannot be compared by numbers" in page
    assert "the controls were switched off" in page.lower()


def test_the_same_run_named_twice_is_refused(report) -> None:
    assert "are the same run. Name it once." in report("run", "./run", code=2).stderr


def test_a_cache_has_a_page_of_its_own_that_shows_no_predictions(report, tmp_path) -> None:
    report("features.h5")
    page = text_of(tmp_path / "report.html")
    assert "<title>Cache features.h5" in page
    assert ">Map of the vectors<" in page
    assert "Confusion" not in page
    assert "name it alone" in report("features.h5", "run", code=2, out="both.html").stderr


def test_a_run_whose_cache_is_gone_is_shown_without_it(made, report, tmp_path) -> None:
    shutil.copytree(made / "run", tmp_path / "elsewhere" / "run")
    note = json.loads((tmp_path / "elsewhere" / "run" / "run.json").read_text())
    note["made_with"]["cache"] = str(tmp_path / "gone.h5")
    (tmp_path / "elsewhere" / "run" / "run.json").write_text(json.dumps(note))
    done = report(str(tmp_path / "elsewhere" / "run"))
    assert "gone.h5 is not there any more" in done.stderr
    page = text_of(tmp_path / "report.html")
    assert ">Results<" in page
    assert ">Cache<" not in page


def test_a_cache_that_moved_with_its_run_is_found_beside_it(made, report, tmp_path) -> None:
    shutil.copytree(made / "run", tmp_path / "moved" / "run")
    shutil.copy(made / "features.h5", tmp_path / "moved" / "features.h5")
    note = json.loads((tmp_path / "moved" / "run" / "run.json").read_text())
    note["made_with"]["cache"] = "/nowhere/features.h5"
    (tmp_path / "moved" / "run" / "run.json").write_text(json.dumps(note))
    assert "not there any more" not in report(str(tmp_path / "moved" / "run")).stderr
    assert ">Cache<" in text_of(tmp_path / "report.html")


def test_nothing_is_overwritten_unasked_and_nothing_but_a_page_ever(report, tmp_path) -> None:
    report("run", "--no-maps")
    assert "--overwrite" in report("run", code=1).stderr
    report("run", "--no-maps", "--overwrite")
    (tmp_path / "precious.html").write_text("mine")
    report("run", "--overwrite", out="precious.html", code=1)
    assert (tmp_path / "precious.html").read_text() == "mine"


def test_json_is_one_document_and_nothing_else(report, tmp_path) -> None:
    done = report("run", "--json", "--quiet")
    assert json.loads(done.stdout)["report"] == str(tmp_path / "report.html")
    assert json.loads(done.stdout)["bytes"] == (tmp_path / "report.html").stat().st_size
    assert done.stderr == ""


def test_what_is_no_run_or_unfinished_ends_in_one_sentence(made, report, tmp_path) -> None:
    assert "has no run.json" in report(str(tmp_path), code=1).stderr
    shutil.copytree(made / "run", tmp_path / "unfinished")
    (tmp_path / "unfinished" / "results.json").unlink()
    assert "is not finished" in report(str(tmp_path / "unfinished"), code=1).stderr
    (tmp_path / "unfinished" / "results.json").write_text('{"heads": ')
    assert "is damaged" in report(str(tmp_path / "unfinished"), code=1).stderr
    assert "no metric" in report("run", "same", "--metric", "acuracy", code=2).stderr
    assert "name several runs" in report("run", "--metric", "accuracy", code=2).stderr


def test_without_plotly_the_missing_extra_is_named_before_anything_is_computed(report, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert "pip install 'icehouse[report]'" in report("run", code=1).stderr


def test_what_figures_on_files_need_is_named_before_anything_is_computed(report, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    done = report("run", "--figures", str(tmp_path / "figures"), code=1)
    assert "kaleido" in done.stderr
    assert "icehouse[figures]" in done.stderr
    assert not (tmp_path / "report.html").exists()
