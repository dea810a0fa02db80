"""Promises about `classify --by`: slices of a patient become one answer, judged beside the slices."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from icehouse import errors, run_rounds
from icehouse.cache.commit import commit
from icehouse.cache.samples import Samples
from icehouse.cache.writing import Contents
from icehouse.classify.stored import read_run
from icehouse.cli import main
from making import SELECTION, block_of, samples_of
from PIL import Image
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier

QUICK = "logistic"


def write(path: Path, samples: Samples, X: np.ndarray) -> Path:
    """Write a cache of these vectors, of the samples that are done."""
    done = samples.state == "done"
    contents = Contents({"kind": "by hand"}, ("avg_pool",), SELECTION, samples, [], [{}])
    commit(path, None, [block_of(samples.content[done], X[done])], contents)
    return path


def samples_by(labels: list[str], patients: list[str], states: list[str] | None = None, **columns) -> Samples:
    content = np.random.default_rng(5).integers(0, 256, (len(labels), 32), dtype=np.uint8)
    own = {name: np.array(values) for name, values in columns.items()}
    return replace(samples_of(content, labels, patients, states), columns=own)


def vectors_for(positive: np.ndarray, seed: int = 0, by: float = 1.6) -> np.ndarray:
    """Return vectors of 6 numbers that tell a positive slice from others, not always."""
    noise = np.random.default_rng(seed).normal(size=(len(positive), 6))
    return noise + by * np.asarray(positive, dtype=float)[:, None] * np.array([1, 1, 0, 0, 0, 0])


def patients_of(count: int, slices: int) -> tuple[list[str], list[str]]:
    """Return label and patient of the slices of so many patients, of the two classes by turns."""
    labels = [("covid", "normal")[patient % 2] for patient in range(count) for _ in range(slices)]
    return labels, [f"p{patient:03d}" for patient in range(count) for _ in range(slices)]


@pytest.fixture
def cache_path(tmp_path) -> Path:
    labels, patients = patients_of(40, 4)
    studies = [f"{patient}-{number // 2}" for patient, number in zip(patients, [0, 1, 2, 3] * 40, strict=True)]
    scanners = ["one", "two"] * 80
    samples = samples_by(labels, patients, study=studies, scanner=scanners)
    return write(tmp_path / "c.h5", samples, vectors_for(np.array(labels) == "covid"))


def run(path: Path, heads=(QUICK,), **options) -> dict:
    asked = {"by": "patient", "rule": "any", "folds": 3, "controls": False, **options}
    return run_rounds(path, list(heads), note=lambda text: None, **asked).document


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "units.csv").open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.parametrize("rule", ["any", "fraction:0.75", "mean", "max"])
def test_patients_are_judged_by_the_answers_that_their_slices_got(cache_path, tmp_path, rule) -> None:
    document = run(cache_path, rule=rule, out=tmp_path / "run")
    stored = read_run(tmp_path / "run")
    rows = table(tmp_path / "run")
    for number, record in enumerate(stored.records()):
        right: dict[str, list[bool]] = {"covid": [], "normal": []}
        patients = stored.patient[record.rows]
        for patient in np.unique(patients):
            own = patients == patient
            covid = record.scores[own, 0]
            assert own.sum() == 4
            positive = {
                "any": (covid > 0.5).any(),
                "fraction:0.75": (covid > 0.5).sum() >= 3,
                "mean": covid.mean() > 0.5,
                "max": covid.max() > 0.5,
            }[rule]
            truth = stored.label[record.rows][own][0]
            right[truth].append(positive == (truth == "covid"))
            (line,) = [row for row in rows if row["round"] == f"fold {number + 1}" and row["unit"] == patient]
            assert line["label"] == truth
            assert line["predicted"] == ("covid" if positive else "normal")
            assert (line["slices"], line["selected"]) == ("4", "4")
            assert int(line["positive"]) == (covid > 0.5).sum()
        found = document["by"]["heads"][QUICK]
        assert found["sensitivity"]["rounds"][number] == pytest.approx(np.mean(right["covid"]))
        assert found["specificity"]["rounds"][number] == pytest.approx(np.mean(right["normal"]))
    assert document["by"]["units"] == 40
    assert sum(map(sum, document["by"]["confusion"][QUICK]["sum"])) == 40
    assert sum(map(sum, document["confusion"][QUICK]["sum"])) == 160
    assert "40 patients tested" in document["by"]["interval"]


def test_slices_are_judged_as_they_are_without_by(cache_path) -> None:
    plain = run(cache_path, by=None, rule=None)
    assert plain["by"] is None
    beside = run(cache_path)
    assert {key: plain[key] for key in ("heads", "confusion", "splits", "per_class")} == {
        key: beside[key] for key in ("heads", "confusion", "splits", "per_class")
    }


def test_only_the_mean_of_probabilities_is_a_probability(cache_path) -> None:
    found = {rule: run(cache_path, [QUICK, "svm"], rule=rule)["by"]["heads"] for rule in ("mean", "max")}
    assert found["mean"][QUICK]["loss"]["mean"] is not None
    assert found["max"][QUICK]["brier"]["mean"] is None
    assert found["max"][QUICK]["brier"]["reason"] == "by the rule max scores are no probabilities"
    assert found["mean"]["svm"]["loss"]["reason"] == "this head gives scores, not probabilities"
    assert found["max"]["svm"]["roc_auc"]["mean"] > 0.5


# Labels of patients, and slices without a vector


def series(count: int = 24) -> Samples:
    """Return the samples of patients with a label of their own, of which a third have none of their slices'.

    A covid patient has two covid and two normal slices, two whose label nobody knows, and one not selected.
    """
    labels, patients, own, states = [], [], [], []
    for patient in range(count):
        is_covid = patient % 2 == 0
        known = patient % 3 != 0
        labels += ["covid" if is_covid else "normal"] * 2 + ["normal"] * 2 if known else [""] * 4
        labels += ["", "", ""]
        own += ["covid" if is_covid else "normal"] * 7
        patients += [f"p{patient:02d}"] * 7
        states += ["done"] * 6 + ["not-selected"]
    return samples_by(labels, patients, states, patient_label=own)


def test_a_patients_own_label_is_the_truth_and_unlabelled_slices_have_their_say(tmp_path) -> None:
    samples = series()
    number = np.tile(np.arange(7), 24)
    positive = (samples.columns["patient_label"] == "covid") & ((number < 2) | (number == 4))
    path = write(tmp_path / "c.h5", samples, vectors_for(positive, by=4))
    document = run(path, rule="fraction:0.4", out=tmp_path / "run")
    assert document["by"]["left_out"] == {}
    assert document["by"]["units"] == 24
    rows = table(tmp_path / "run")
    assert sorted(row["unit"] for row in rows) == [f"p{patient:02d}" for patient in range(24)]
    for row in rows:
        assert row["label"] == ("covid" if int(row["unit"][1:]) % 2 == 0 else "normal")
        assert (row["slices"], row["selected"]) == ("7", "6")
    # three of six slices are positive: by its labelled slices alone a patient could not be told at 0.75
    assert document["by"]["heads"][QUICK]["sensitivity"]["mean"] > 0.9
    assert run(path, rule="fraction:0.75")["by"]["heads"][QUICK]["sensitivity"]["mean"] < 0.1


def test_patients_whose_slices_have_several_labels_are_counted_and_left_out(tmp_path) -> None:
    labels, patients = patients_of(30, 3)
    labels[0], labels[9] = "normal", "normal"  # of p000 and p003, and p003 is normal anyway
    path = write(tmp_path / "c.h5", samples_by(labels, patients), vectors_for(np.array(labels) == "covid"))
    document = run(path, out=tmp_path / "run")
    assert document["by"]["left_out"] == {"several labels": 1}
    assert document["by"]["units"] == 29
    (row,) = [row for row in table(tmp_path / "run") if row["unit"] == "p000"]
    assert row["label"] == ""
    assert row["predicted"] != ""


def test_a_patient_of_whom_no_slice_is_selected_is_counted_as_undecided(tmp_path) -> None:
    labels, patients = patients_of(30, 3)
    states = ["not-selected"] * 3 + ["done"] * 86 + ["not-selected"]
    path = write(
        tmp_path / "c.h5", samples_by(labels, patients, states), vectors_for(np.array(labels) == "covid")
    )
    document = run(path, out=tmp_path / "run")
    assert (document["by"]["undecided"], document["by"]["units"]) == (1, 29)
    (last,) = [row for row in table(tmp_path / "run") if row["unit"] == "p029"]
    assert (last["slices"], last["selected"]) == ("3", "2")
    assert "p000" not in {row["unit"] for row in table(tmp_path / "run")}


def test_a_patient_label_that_is_no_class_is_refused(tmp_path) -> None:
    labels, patients = patients_of(12, 2)
    own = ["flu", *labels[1:]]
    path = write(tmp_path / "c.h5", samples_by(labels, patients, patient_label=own), np.ones((24, 4)))
    with pytest.raises(errors.ClassesError, match=r"patient_label of 0\.png is 'flu', which is no class"):
        run(path)


def test_slices_without_a_patients_name_are_units_of_their_own(tmp_path) -> None:
    labels, patients = patients_of(20, 3)
    patients[:6] = [""] * 6
    path = write(tmp_path / "c.h5", samples_by(labels, patients), vectors_for(np.array(labels) == "covid"))
    assert run(path)["by"]["units"] == 18 + 6


# Other columns


def test_studies_within_patients_are_judged_and_counted_in_patients(cache_path) -> None:
    by = run(cache_path, by="study")["by"]
    assert (by["column"], by["units"]) == ("study", 80)
    assert "40 patients tested" in by["interval"]


def test_a_column_whose_units_are_on_both_sides_is_refused_by_name(cache_path) -> None:
    with pytest.raises(
        errors.UsageError, match="--by scanner: 'one' is trained on and tested in split 'fold 1'"
    ):
        run(cache_path, by="scanner")
    with pytest.raises(errors.UsageError, match=r"'p0.*' is trained on and tested"):
        run(cache_path, grouped=False)


def test_what_cannot_be_asked_is_refused_with_a_sentence(cache_path, make_cache) -> None:
    for options, message in (
        ({"rule": None}, "--by patient needs a --rule: any"),
        ({"by": None}, "--rule is for whole patients"),
        ({"rule": "most"}, "There is no rule 'most'"),
        ({"by": "series"}, "no such column; they have patient, path, scanner, study"),
    ):
        with pytest.raises(errors.UsageError, match=message):
            run(cache_path, **options)
    labels, _ = patients_of(12, 2)
    nobody = make_cache(np.ones((24, 4)), labels, name="nobody.h5")
    with pytest.raises(errors.UsageError, match=r"--by patient: no patients are known\. Add a column"):
        run(nobody)
    three = make_cache(np.ones((24, 4)), ["a", "b", "c"] * 8, [f"p{k}" for k in range(24)], name="three.h5")
    with pytest.raises(errors.UsageError, match="The rule any counts positive slices, so it needs two classes"):
        run(three)
    assert run(three, rule="mean")["by"]["units"] == 24


# Auto


def mixed(tmp_path: Path, name: str, flipped: set[str] = frozenset()) -> Path:
    """Write patients of whom half of the slices of the ill look ill; the labels of some are turned round."""
    labels, patients = patients_of(48, 6)
    ill = (np.array(labels) == "covid") & (np.arange(len(labels)) % 2 == 0)
    turned = {"covid": "normal", "normal": "covid"}
    labels = [
        turned[label] if patient in flipped else label for label, patient in zip(labels, patients, strict=True)
    ]
    split = ["test" if int(patient[1:]) % 4 < 2 else "train" for patient in patients]
    return write(tmp_path / name, samples_by(labels, patients, fold=split), vectors_for(ill, by=3))


@pytest.mark.parametrize("head", ["svm", ("ridge", RidgeClassifier())])
def test_auto_is_chosen_without_a_look_at_the_labels_that_are_tested(tmp_path, head) -> None:
    asked = {"folds": None, "split_columns": ["fold"], "rule": "auto"}
    flipped = {f"p{patient:03d}" for patient in range(48) if patient % 4 < 2}
    as_they_are = run(mixed(tmp_path, "a.h5"), [head], **asked)["by"]
    turned_round = run(mixed(tmp_path, "b.h5", flipped), [head], **asked)["by"]
    assert as_they_are["rules"] == turned_round["rules"]
    (name,) = as_they_are["rules"]
    before, after = (by["heads"][name]["balanced_accuracy"]["mean"] for by in (as_they_are, turned_round))
    assert before > 0.8
    assert after == pytest.approx(1 - before)


def test_auto_chooses_a_share_that_tells_patients_apart_where_any_cannot(tmp_path) -> None:
    path = mixed(tmp_path, "c.h5")
    found = {rule: run(path, ["svm"], rule=rule)["by"] for rule in ("any", "auto")}
    balanced = {rule: by["heads"]["svm"]["balanced_accuracy"]["mean"] for rule, by in found.items()}
    assert balanced["auto"] > balanced["any"] + 0.1
    assert all(0 < float(text.removeprefix("fraction:")) < 1 for text in found["auto"]["rules"]["svm"])


def test_with_labels_dealt_at_random_auto_stays_at_chance(tmp_path) -> None:
    labels, patients = patients_of(120, 3)
    vectors = np.random.default_rng(11).normal(size=(360, 6)) + np.repeat(
        np.random.default_rng(12).normal(size=(120, 6)), 3, axis=0
    )
    path = write(tmp_path / "c.h5", samples_by(labels, patients), vectors)
    entry = run(path, rule="auto", folds=4, repeats=3)["by"]["heads"][QUICK]["balanced_accuracy"]
    assert abs(entry["mean"] - 0.5) < 0.1
    assert entry["low"] < 0.5 < entry["high"]


def test_auto_looks_at_slices_that_the_head_was_not_fitted_on(tmp_path) -> None:
    """A head that knows its training slices by heart would find every share 0 or 1, and ask for a half."""
    labels, patients = patients_of(40, 5)
    path = write(
        tmp_path / "c.h5", samples_by(labels, patients), np.random.default_rng(4).normal(size=(200, 6))
    )
    by_heart = ("by-heart", KNeighborsClassifier(1))
    assert set(run(path, [by_heart], rule="auto", folds=5)["by"]["rules"]["by-heart"]) != {"fraction:0.5"}


def test_unlabelled_slices_count_where_auto_is_chosen(tmp_path) -> None:
    samples = series(36)
    number = np.tile(np.arange(7), 36)
    positive = (samples.columns["patient_label"] == "covid") & (number < 2)
    path = write(tmp_path / "c.h5", samples, vectors_for(positive, by=6))
    document = run(path, rule="auto")
    # Two of an ill patient's six slices are positive, but of its labelled ones a half.
    assert all(float(text.removeprefix("fraction:")) < 0.34 for text in document["by"]["rules"][QUICK])
    assert document["by"]["heads"][QUICK]["balanced_accuracy"]["mean"] > 0.9


# The run


def test_an_interrupted_run_by_patient_goes_on_and_ends_equal(cache_path, tmp_path) -> None:
    class Stop(Exception):
        pass

    def stop_after_two(done: int, total: int) -> None:
        if done == 2:
            raise Stop

    asked = {"rule": "auto", "heads": [QUICK, "knn"]}
    with pytest.raises(Stop):
        run(cache_path, **asked, out=tmp_path / "run", progress=stop_after_two)
    resumed = run(cache_path, **asked, out=tmp_path / "run")
    undisturbed = run(cache_path, **asked, out=tmp_path / "other")
    assert resumed["by"] == undisturbed["by"]
    assert (tmp_path / "run" / "units.csv").read_bytes() == (tmp_path / "other" / "units.csv").read_bytes()
    with pytest.raises(errors.OutputExists):
        run(cache_path, rule="any", out=tmp_path / "run")
    run(cache_path, by=None, rule=None, out=tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "units.csv").exists()


def test_the_command_line_shows_patients_after_slices(cache_path, tmp_path) -> None:
    arguments = ["classify", str(cache_path), "-o", str(tmp_path / "run"), "--head", "svm", "--folds", "3"]
    arguments += ["--no-controls", "--by", "patient", "--rule", "auto", "--quiet"]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    places = [
        shown.output.index(text)
        for text in (
            "svm: 160 judgements of 160 images",
            "svm: 40 judgements of 40 patients",
            "Patients. Mean",
            "Chosen for svm",
        )
    ]
    assert places == sorted(places)
    document = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert len(document["by"]["rules"]["svm"]) == 3


# Real slices


def test_patients_of_real_ct_slices_are_told_apart_better_than_chance(shared, tmp_path) -> None:
    """By 16×16 grey values, which take no network: the published split of COVID-CT, its real patients."""
    folder = shared / "data" / "covid_ct"
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    grey = [Image.open(folder / row["path"]).convert("L").resize((16, 16)) for row in rows]
    X = np.stack([np.asarray(picture, dtype=np.float32).ravel() for picture in grey])
    samples = samples_by(
        *([row[name] for row in rows] for name in ("label", "patient")), source=["ct"] * len(rows)
    )
    samples = replace(samples, split=np.array([row["split"] for row in rows]))
    path = write(tmp_path / "ct.h5", samples, X)
    by = run(path, ["svm"], rule="auto")["by"]
    assert by["units"] == len({row["patient"] for row in rows}) == 384
    assert by["heads"]["svm"]["balanced_accuracy"]["mean"] > 0.55
    published = run(path, ["svm"], rule="mean", folds=None, split_columns=["split"])["by"]
    assert published["units"] == len({row["patient"] for row in rows if row["split"] == "test"})
