"""Promises about the origin probe: a source that goes with the class is found, an unrelated one is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from icehouse.classify import heads
from icehouse.classify.kernels import gram
from icehouse.classify.levels import all_levels
from icehouse.classify.origins import area_under_roc, origins
from icehouse.classify.problem import Problem
from making import problem_of
from sklearn.metrics import roc_auc_score

PATIENTS = 60


def told_sites(y: np.ndarray, site: np.ndarray, strength: float = 2.0, seed: int = 0) -> Problem:
    """Return two images of each patient, whose vectors tell the patient's site and nothing of the class."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(len(y), 40))
    X[:, :10] += strength * (site == "A")[:, None]
    owner = np.arange(len(y))
    rows = np.repeat(owner, 2)
    X = X[rows] + 0.1 * generator.normal(size=(len(rows), 40))
    return problem_of(y[rows], owner[rows].astype(str), X=X.astype(np.float32), columns={"site": site[rows]})


def probe(problem: Problem, head: str = "svm", **how) -> tuple[dict[str, dict], dict[str, str]]:
    found, skipped = origins(problem, problem.blocks, heads.parse_all([head]), gram(problem.X), seed=0, **how)
    return {one["column"]: one for one in found}, {one["column"]: one["reason"] for one in skipped}


def test_a_source_that_is_the_class_cannot_be_told_from_the_disease() -> None:
    y = np.arange(PATIENTS) % 2
    found = probe(told_sites(y, np.where(y == 1, "A", "B")))[0]["site"]
    assert found["alarm"]
    assert found["label_association"] > 0.95
    assert found["roc_auc"] > 0.95
    assert found["within_class_auc"] is None
    assert "leave_one_out" not in found
    assert found["verdict"].startswith("site goes with the class")
    assert found["verdict"].endswith("these data cannot separate disease from origin.")


def test_a_source_that_vectors_tell_but_has_nothing_to_do_with_the_class_raises_no_alarm() -> None:
    y = np.arange(PATIENTS) % 2
    found = probe(told_sites(y, np.where(np.arange(PATIENTS) % 4 < 2, "A", "B")))[0]["site"]
    assert not found["alarm"]
    assert found["label_association"] < 0.2
    assert found["roc_auc"] > 0.95
    assert found["within_class_auc"] > 0.9
    assert found["verdict"].startswith(
        "The vectors tell site (ROC-AUC 1.00), which is little tied to the class"
    )


def test_a_column_that_vectors_do_not_tell_is_hardly_told() -> None:
    y = np.arange(PATIENTS) % 2
    site = np.where(np.arange(PATIENTS) % 4 < 2, "A", "B")
    found = probe(told_sites(y, site, strength=0))[0]["site"]
    assert not found["alarm"]
    assert abs(found["roc_auc"] - 0.5) < 0.15
    assert found["verdict"].startswith("The vectors hardly tell site")


def test_a_source_tied_to_the_class_raises_the_alarm_and_inside_it_nothing_is_left_of_the_score() -> None:
    """Vectors tell the site only, and seven of eight patients of a site are of one class."""
    number = np.arange(160)
    y = number % 2
    site = np.where((y == 1) == (number % 16 >= 2), "A", "B")
    found = probe(told_sites(y, site))[0]["site"]
    assert found["alarm"]
    assert 0.5 < found["label_association"] < 0.9
    assert found["head"] == "svm"
    assert found["leave_one_out"] < 0.65
    assert found["mixed"] < 0.65
    assert "part of the score may be origin; svm, trained on the others and tested on one" in found["verdict"]


def test_a_class_that_alone_goes_with_a_source_is_named_and_so_are_those_that_can_be_compared() -> None:
    y = np.arange(90) % 3
    found = probe(told_sites(y, np.where(y == 2, "A", "B")))[0]["site"]
    assert found["alarm"]
    assert found["class"] == "c"
    assert "goes with class c" in found["verdict"]
    assert found["verdict"].endswith("except among a and b, which share one.")


def test_images_of_a_patient_are_never_on_both_sides_of_the_probe() -> None:
    """Sites by lot can be told of patients that were seen, and of no others."""
    generator = np.random.default_rng(4)
    owner = np.repeat(np.arange(40), 5)
    X = generator.normal(size=(40, 64))[owner] + 0.05 * generator.normal(size=(200, 64))
    site = generator.permutation(np.repeat(["A", "B"], 20))[owner]
    problem = problem_of(owner % 2, owner.astype(str), X=X.astype(np.float32), columns={"site": site})
    assert abs(probe(problem)[0]["site"]["roc_auc"] - 0.5) < 0.2
    seen = replace(problem, blocks=np.arange(200))
    assert origins(seen, owner, heads.parse_all(["svm"]), gram(X), seed=0)[0][0]["roc_auc"] > 0.95


def test_patients_and_not_images_are_counted() -> None:
    y = np.arange(PATIENTS) % 2
    problem = told_sites(y, np.where(y == 1, "A", "B"))
    assert probe(problem)[0]["site"]["levels"] == {"A": 30, "B": 30}
    few = replace(problem, columns={"site": np.where(np.arange(120) < 8, "A", "B")})
    assert probe(few)[1] == {"site": "fewer than two of its values have 5 patients"}


def levels(values: list[str] | np.ndarray, name: str = "column", **how) -> tuple[list, list]:
    values = np.array(values)
    problem = problem_of(np.arange(len(values)) % 2, columns={name: values})
    return all_levels(problem, np.arange(len(values)), **how)


def test_numbers_are_halved_at_their_median() -> None:
    (found,), _ = levels([str(300 + number) for number in range(50)])
    assert set(found.of_row) == {"≤ 324", "> 324"}
    (found,), _ = levels([f"{300 + number}×{400 - number}" for number in range(50)])
    assert np.sum(found.of_row == "≤ 324×376") == 25
    (found,), _ = levels([f"{number:03}Y" for number in range(20, 70)])
    assert set(found.of_row) == {"≤ 044Y", "> 044Y"}


def test_a_number_that_most_have_is_set_against_the_others() -> None:
    (found,), _ = levels(["1024"] * 40 + [str(number) for number in range(1010, 1040)])
    assert np.sum(found.of_row == "1024") == 41
    assert set(found.of_row) == {"1024", "not 1024"}


def test_a_few_numbers_are_levels_and_blanks_are_one_too() -> None:
    (found,), _ = levels(["8", "16", ""] * 10)
    assert set(found.counted) == {"8", "16", "(blank)"}
    (found,), _ = levels([*map(str, range(50)), *["", "nan"] * 10, "about forty"])
    assert set(found.counted) == {"≤ 24", "> 24", "(blank)"}
    assert found.of_row[-1] == "(other)"


def test_of_many_levels_the_largest_are_kept() -> None:
    values = np.repeat([f"site {number:02}" for number in range(30)], np.arange(31, 1, -1))
    (found,), _ = levels(values)
    assert len(found.counted) == 21
    assert found.counted[0] in ("(other)", "site 00")
    assert "site 20" not in found.counted


def test_columns_that_say_nothing_are_passed_over_with_the_reason() -> None:
    names = ["same", "blank", "study", "class"]
    columns = [["x"] * 40, [""] * 40, [f"s{number}" for number in range(40)], ["A", "B"] * 20]
    reasons = [levels(values, name)[1][0]["reason"] for name, values in zip(names, columns, strict=True)]
    assert reasons == [
        'it says "x" everywhere',
        "it is blank",
        "nearly every patient has a value of its own (40 values)",
        "it repeats the class",
    ]


def test_columns_that_split_the_data_are_not_probed() -> None:
    fold = np.array(["train", "test"] * 20)
    problem = problem_of(np.arange(40) // 20, columns={"split": fold, "patient_label": fold, "fold1": fold})
    found, skipped = all_levels(problem, np.arange(40), ["fold1"])
    assert not found
    assert not skipped


def test_a_files_own_facts_are_told_from_a_column_of_the_same_name() -> None:
    values = np.array(["PNG", "JPEG"] * 20)
    problem = problem_of(np.arange(40) // 20, columns={"format": values}, technical={"format": values})
    assert [one.column for one in all_levels(problem, np.arange(40))[0]] == ["format", "format of the file"]


def test_the_area_under_the_roc_curve_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random(80) < 0.3
    for scores in (generator.normal(size=80), generator.integers(0, 4, 80).astype(float), np.zeros(80)):
        assert area_under_roc(truth, scores) == pytest.approx(roc_auc_score(truth, scores))


def test_the_source_of_real_x_rays_is_found(shared, tmp_path) -> None:
    """Covid X-rays are of one collection, and all others of another: the pictures' grey values tell."""
    import csv

    from PIL import Image

    with (shared / "data" / "cxr" / "manifest.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["label"] != "pneumonia"][:300]
    pictures = [Image.open(shared / "data" / "cxr" / line["path"]).convert("L") for line in lines]
    X = np.stack([np.asarray(picture.resize((16, 16)), dtype=np.float32).ravel() for picture in pictures])
    y = np.array([line["label"] == "normal" for line in lines]).astype(np.int64)
    columns = {name: np.array([line[name] for line in lines]) for name in ("source", "original_width")}
    problem = problem_of(y, np.array([line["patient"] for line in lines]), X=X, columns=columns)
    found, _ = probe(problem)
    for column in ("source", "original_width"):
        assert found[column]["alarm"]
        assert found[column]["label_association"] > 0.9
        assert "cannot separate disease from origin" in found[column]["verdict"]
