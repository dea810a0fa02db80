"""Promises of fit, predict, evaluate and bundle info at the command line, and on real images where they are."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import signal
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import icehouse
import numpy as np
import pytest
from icehouse import errors
from icehouse.cache.patient_key import VARIABLE
from icehouse.cli import main
from icehouse.report.tables import DISCLAIMER
from making import draw, write_cache


class Done(NamedTuple):
    """What a command printed."""

    stdout: str
    stderr: str


def command(*arguments: object, cwd: Path, code: int = 0) -> Done:
    """Run `icehouse`, which must end with `code`, in this process: one of its own takes a second to begin."""
    out, err, before = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    try:
        with (
            contextlib.chdir(cwd),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main([*map(str, arguments)], prog_name="icehouse")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == code, err.getvalue()
    return Done(out.getvalue(), err.getvalue())


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Return a folder with features.h5 of two classes, 60 patients of 3 slices, and model.head fitted on it."""
    folder = tmp_path_factory.mktemp("work")
    for name, seed in (("features", 1), ("external", 2)):
        generator = np.random.default_rng(seed)
        y = np.repeat(np.arange(60) % 2, 3)
        X = generator.normal(0, 1, (180, 16)) + 1.5 * y[:, None] * (np.arange(16) < 4)
        content = generator.integers(0, 256, (180, 32), dtype=np.uint8)
        labels = ["covid" if label else "normal" for label in y]
        patients = [f"{name}-{number // 3}" for number in range(180)]
        write_cache(folder / f"{name}.h5", X.astype(np.float32), labels, patients, content=content)
    icehouse.fit_head(folder / "features.h5", "logistic", out=folder / "model.head", note=lambda _: None)
    return folder


def test_fit_says_what_it_kept_and_bundle_info_says_it_again(work, tmp_path) -> None:
    command(
        "classify",
        work / "features.h5",
        "-o",
        "run",
        "--head",
        "svm",
        "--rounds",
        3,
        "--no-controls",
        cwd=tmp_path,
    )
    made = command(
        "fit", work / "features.h5", "--head", "svm", "--from-run", "run", "-o", "svm.head", cwd=tmp_path
    )
    shown = command("bundle", "info", "svm.head", cwd=tmp_path).stdout
    assert made.stdout == shown
    for words in (
        "classes: covid, normal",
        "positive: covid",
        "of 60 patients",
        "by 3 rounds of run",
        DISCLAIMER,
    ):
        assert words in shown
    document = json.loads(command("bundle", "info", "svm.head", "--json", cwd=tmp_path).stdout)
    assert document["training"]["per_class"] == {"covid": 90, "normal": 90}
    assert document["calibration"] == "sigmoid"
    run = json.loads((tmp_path / "run" / "results.json").read_text())
    assert document["expected"]["metrics"]["accuracy"]["mean"] == run["heads"]["svm"]["accuracy"]["mean"]
    again = command("fit", work / "features.h5", "--head", "svm", "-o", "svm.head", cwd=tmp_path, code=1)
    assert "--overwrite" in again.stderr


def test_predict_prints_the_table_without_an_output_and_writes_it_with_one(work, tmp_path) -> None:
    printed = command("predict", work / "model.head", work / "external.h5", cwd=tmp_path)
    written = command("predict", work / "model.head", work / "external.h5", "-o", "p.csv", cwd=tmp_path)
    assert printed.stdout == (tmp_path / "p.csv").read_text()
    assert DISCLAIMER in printed.stderr
    assert DISCLAIMER in written.stdout
    rows = table(tmp_path / "p.csv")
    assert len(rows) == 180
    document = json.loads(
        command("predict", work / "model.head", work / "external.h5", "--json", cwd=tmp_path).stdout
    )
    assert [row["path"] for row in document["predictions"]] == [row["path"] for row in rows]
    counts = [sum(row["predicted"] == name for row in rows) for name in ("covid", "normal")]
    assert list(document["predicted"].values()) == counts


def test_patients_are_rolled_up_by_the_rule_and_by_nothing_else(work, tmp_path) -> None:
    for rule in ("any", "fraction:0.5", "mean", "max"):
        options = ("--by", "patient", "--rule", rule, "--images", "images.csv", "--overwrite")
        command("predict", work / "model.head", work / "external.h5", "-o", "by.csv", *options, cwd=tmp_path)
        slices = table(tmp_path / "images.csv")
        patients = table(tmp_path / "by.csv")
        assert len(patients) == 60
        for row in patients:
            mine = [each for each in slices if each["patient"] == row["patient"]]
            shares = [float(each["p_covid"]) for each in mine]
            positive = sum(each["predicted"] == "covid" for each in mine)
            expected = {
                "any": positive >= 1,
                "fraction:0.5": positive >= 0.5 * len(mine),
                "mean": np.mean(shares) >= 0.5,
                "max": max(shares) >= 0.5,
            }
            assert (row["predicted"] == "covid") == expected[rule]
            assert (row["slices"], row["selected"], row["positive"]) == ("3", "3", str(positive))
            assert float(row["seconds"]) >= 0


def test_auto_is_chosen_on_the_training_patients_whatever_is_predicted(work, tmp_path) -> None:
    options = ("--by", "patient", "--rule", "auto", "--json")
    found = [
        json.loads(command("predict", work / "model.head", work / name, *options, cwd=tmp_path).stdout)
        for name in ("external.h5", "features.h5")
    ]
    assert found[0]["by"]["rule"] == found[1]["by"]["rule"]
    assert found[0]["by"]["rule"].startswith("fraction:")
    assert any("60 training patients" in text for text in found[0]["notes"])


def test_a_sensitivity_moves_the_threshold_and_finds_that_share_of_strangers(work, tmp_path) -> None:
    def sensitivity(*options: object) -> tuple[float, float]:
        done = command("evaluate", work / "model.head", work / "external.h5", "--json", *options, cwd=tmp_path)
        document = json.loads(done.stdout)
        return document["threshold"], document["sensitivity"]["value"]

    assert sensitivity()[0] == 0.5
    level, found = sensitivity("--sensitivity", 0.97)
    assert level < 0.5
    assert found > 0.9
    low, lowest = sensitivity("--threshold", 0)
    assert (low, lowest) == (0, 1)
    kept = ("fit", work / "features.h5", "--head", "logistic", "--sensitivity", 0.97, "-o", "s.head", "--json")
    document = json.loads(command(*kept, cwd=tmp_path).stdout)
    assert (document["threshold"]["value"], document["threshold"]["sensitivity"]) == (level, 0.97)
    assert document["threshold"]["out_of_fold"]["sensitivity"] >= 0.97


def test_evaluate_prints_the_keys_that_scripts_rely_on(work, tmp_path) -> None:
    done = command(
        "evaluate", work / "model.head", work / "external.h5", "--prevalence", 0.02, "--json", cwd=tmp_path
    )
    document = json.loads(done.stdout)
    assert {"samples", "failed", "classes", "confusion", "accuracy", "roc_auc"} <= set(document)
    assert (document["samples"], document["failed"], document["patients"]) == (180, 0, 60)
    right = sum(document["confusion"][label][label] for label in range(2))
    assert document["accuracy"]["value"] == pytest.approx(right / 180)
    assert document["accuracy"]["low"] < right / 180 < document["accuracy"]["high"]
    assert document["prevalence"]["precision"]["value"] < document["precision"]["value"]
    text = command("evaluate", work / "model.head", work / "external.h5", cwd=tmp_path).stdout
    assert DISCLAIMER in text


def test_patients_are_judged_by_their_own_label_and_those_with_two_are_left_out(work, tmp_path) -> None:
    with icehouse.open_cache(work / "external.h5") as cache:
        lines = ["path,label,patient_label"]
        for number, path in enumerate(cache.samples.path):
            label = "covid" if number // 3 % 2 else "normal"
            other = {True: "normal", False: "covid"}[label == "covid"]
            given = {0: other, 1: ""}.get(number, label)  # patient 0 has two labels
            lines.append(
                f"{path},{given},{'covid' if number // 3 == 4 else ''}"
            )  # patient 4's slices are normal
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    options = ("--by", "patient", "--rule", "mean", "--labels", "labels.csv", "--json")
    found = json.loads(
        command("evaluate", work / "model.head", work / "external.h5", *options, cwd=tmp_path).stdout
    )
    assert found["left_out"] == {"with several labels": 1}
    assert found["judged"] == 59
    # 30 patients are normal but for the one left out and the one with a label of its own.
    assert [sum(row) for row in found["confusion"]] == [31, 28]


def test_slices_that_were_never_read_tie_no_patients_together(tmp_path) -> None:
    generator = np.random.default_rng(3)
    y = np.repeat(np.arange(40) % 2, 3)
    X = (generator.normal(size=(120, 8)) + 2 * y[:, None]).astype(np.float32)
    passed_over = np.arange(120) % 3 == 0
    for name in ("train", "external"):
        states = ["not-selected" if each and name == "external" else "done" for each in passed_over]
        kept = np.array([state == "done" for state in states])
        content = np.where(kept[:, None], generator.integers(0, 256, (120, 32)), 0).astype(np.uint8)
        labels = ["covid" if label else "normal" for label in y]
        patients = [f"{name}{number // 3}" for number in range(120)]
        given = {"content": content, "states": states, "kept": kept}
        write_cache(tmp_path / f"{name}.h5", X, labels, patients, **given)
    head = icehouse.fit_head(tmp_path / "train.h5", "logistic", note=lambda _: None)
    found = head.evaluate(tmp_path / "external.h5", by="patient", rule="mean", note=lambda _: None)
    assert (found["patients"], found["not_selected"]) == (40, 40)
    rows = head.predict(tmp_path / "external.h5", by="patient", rule="mean", note=lambda _: None).rows
    assert {(row["slices"], row["selected"]) for row in rows} == {(3, 2)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--by", "patient"), "needs a rule"),
        (("--rule", "any"), "--by patient"),
        (("--by", "hospital", "--rule", "any"), "no such column; there are patient"),
        (("--threshold", "0.4", "--sensitivity", "0.9"), "not both"),
        (("--frames", "middle"), "--frames is for images"),
        (("--images", "x.csv"), "needs --by"),
    ],
)
def test_options_that_do_not_go_together_are_refused(work, tmp_path, options, words) -> None:
    done = command("predict", work / "model.head", work / "external.h5", *options, cwd=tmp_path, code=2)
    assert words in done.stderr


def test_what_is_no_bundle_is_named_for_what_it_is(work, tmp_path) -> None:
    for path, words in (
        (work / "features.h5", "HDF5"),
        (draw(tmp_path / "picture.png", 1), "image"),
        (tmp_path / "nothing.head", "icehouse fit"),
    ):
        done = command("predict", path, work / "external.h5", cwd=tmp_path, code=1)
        assert words in done.stderr
    done = command("predict", work / "model.head", draw(tmp_path / "new.png", 1), cwd=tmp_path, code=1)
    assert "give a cache" in done.stderr  # the vectors of this one were made by hand


def test_an_empty_table_of_patients_is_undecided_not_negative(work) -> None:
    head = icehouse.load_head(work / "model.head")
    found = head.predict(work / "external.h5", by="patient", rule="any", reject=1.0, note=lambda _: None)
    undecided = [row for row in found.rows if row["selected"] == 0]
    assert undecided
    assert {row["predicted"] for row in undecided} == {"undecided"}


def test_on_real_x_rays_cache_and_images_give_the_same_probabilities(shared, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "patients.key"))
    rows = table(shared / "data" / "cxr" / "manifest.csv")
    some = [row for row in rows if row["label"] != "pneumonia"][::12]
    lines = ["path,label,patient", *(f"{row['path']},{row['label']},{row['patient']}" for row in some)]
    (tmp_path / "some.csv").write_text("\n".join(lines) + "\n")
    options = {"root": shared / "data" / "cxr"}
    cache = icehouse.extract_features(
        tmp_path / "some.csv", tmp_path / "some.h5", backbone="efficientnetlite0", **options
    )
    for kind in ("svm", "mlp:epochs=20"):
        head = icehouse.fit_head(cache, kind, note=lambda _: None)
        both = [head.predict(cache), head.predict(tmp_path / "some.csv", batch_size=7, **options)]
        shares = [[row["p_covid"] for row in found.rows] for found in both]
        assert len(shares[0]) == len(some)
        np.testing.assert_allclose(*shares, atol=1e-5)
        with pytest.raises(errors.TrainingOverlap):
            head.evaluate(tmp_path / "some.csv", note=lambda _: None, **options)


def test_a_ct_series_becomes_one_row(shared, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "patients.key"))
    lines = ["path,label"]
    for number in range(24):
        draw(tmp_path / f"{number}.png", number, bright=number % 2 == 0)
        lines.append(f"{number}.png,{('covid', 'normal')[number % 2]}")
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    cache = icehouse.extract_features(
        tmp_path / "train.csv", tmp_path / "train.h5", backbone="efficientnetlite0", intensity="percentile:1,99"
    )
    head = icehouse.fit_head(cache, "logistic", note=lambda _: None)
    series = [shared / "data" / "ct_series" / name / "dicom" for name in ("series2", "series6")]
    found = head.predict(series, by="series", rule="fraction:0.1", frames="every:3", note=lambda _: None)
    assert [row["slices"] for row in found.rows] == [39, 42]
    assert [row["selected"] for row in found.rows] == [13, 14]
    assert all(row["seconds"] > 0 for row in found.rows)
    assert len({row["patient"] for row in found.images}) == 2
    passed_over = [row for row in found.images if row["error"] == "not selected"]
    assert len(passed_over) == 81 - 27
