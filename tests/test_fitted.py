"""Promises about the life of a fitted head: fitted once, kept, handed over, and applied as it was trained."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import icehouse
import numpy as np
import pytest
import tifffile
from icehouse import api, errors
from icehouse.cache.patient_key import FILE
from icehouse.cache.store import Cache
from icehouse.classify.heads import parse
from icehouse.classify.kinds import HEADS
from icehouse.classify.protocol import Protocol
from icehouse.extract import engines
from making import draw
from small_network import SmallNetwork

QUIET = {"note": lambda _: None}


@pytest.fixture(autouse=True)
def _small_network(monkeypatch) -> None:
    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: SmallNetwork(batch_size))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Return a folder with images/ of two classes, 40 pictures each and one that is none, and their cache."""
    folder = tmp_path_factory.mktemp("trained")
    for number in range(40):
        draw(folder / "images" / "normal" / f"{number:02}.png", number)
        draw(folder / "images" / "covid" / f"{number:02}.png", number, bright=True)
    (folder / "images" / "covid" / "text.png").write_text("no picture")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "load", lambda _plan, batch_size, _pixels: SmallNetwork(batch_size))
        api.extract(folder / "images", folder / "features.h5", backbone="efficientnetlite0")
    return folder


@pytest.fixture
def pictures(made) -> Path:
    return made / "images"


@pytest.fixture
def trained(made) -> Path:
    """Return the cache of the pictures, by a small network."""
    return made / "features.h5"


@pytest.fixture(scope="module")
def head(made) -> icehouse.FittedHead:
    return icehouse.fit_head(made / "features.h5", "logistic", **QUIET)


def shares(found: icehouse.FittedHead) -> dict[str, list[float]]:
    """Return the probabilities of each image."""
    rows = [row for row in found.images if not row["error"]]
    return {row["path"]: [value for name, value in row.items() if name.startswith("p_")] for row in rows}


@pytest.mark.parametrize("kind", list(HEADS))
def test_from_the_cache_and_from_the_images_every_head_gives_the_same_probabilities(
    kind, trained, pictures, tmp_path
) -> None:
    if kind in ("mlp", "mlp-bn", "pyramid"):
        kind = f"{kind}:epochs=5"
    icehouse.fit_head(trained, kind, out=tmp_path / "model.head", **QUIET)
    kept = icehouse.load_head(tmp_path / "model.head")
    from_cache, from_images = shares(kept.predict(trained)), shares(kept.predict(pictures))
    assert len(from_cache) == 80
    assert from_cache.keys() == from_images.keys()
    for path, values in from_cache.items():
        np.testing.assert_allclose(values, from_images[path], atol=1e-6)
        assert sum(values) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["svm:C=10", "xgboost", "mlp:epochs=5", "forest", "knn"])
def test_a_kept_head_answers_as_the_pipeline_that_is_fitted_on_everything(kind, trained) -> None:
    kept = icehouse.fit_head(trained, kind, seed=3, reduce=8, **QUIET)
    with Cache(trained) as cache:
        X, y = cache.X, (cache.y == "normal").astype(int)
    pipeline = parse(kind).build(Protocol(seed=3).head_seed(0), reduce=8)
    pipeline[1].set_params(random_state=0, svd_solver="full")  # as which the components hardly differ
    scores = kept.bundle.scorer.scores(kept.bundle.preparation.apply(X))
    own = pipeline.fit(X, y)
    if kind == "svm:C=10":
        np.testing.assert_allclose(scores[:, 1], own.decision_function(X), atol=2e-2)
    elif kind == "mlp:epochs=5":
        assert np.corrcoef(scores[:, 1], own.predict_proba(X)[:, 1])[0, 1] > 0.9
    assert np.mean(scores.argmax(axis=1) == own.predict(X)) > 0.95


def test_the_table_has_a_row_for_each_sample_and_says_why_one_failed(head, trained, pictures, tmp_path) -> None:
    found = head.predict(pictures, **QUIET)
    found.write(tmp_path / "predictions.csv")
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "path",
        "patient",
        "predicted",
        "p_covid",
        "p_normal",
        "ood",
        "in_training",
        "error",
    ]
    assert len(rows) == 81
    (bad,) = [row for row in rows if row["error"]]
    assert bad["path"] == "covid/text.png"
    assert bad["error"].startswith("decode: ")
    assert bad["predicted"] == bad["p_covid"] == bad["ood"] == ""
    assert {row["in_training"] for row in rows if not row["error"]} == {"true"}
    with pytest.raises(errors.OutputExists, match="--overwrite"):
        found.write(tmp_path / "predictions.csv")


def test_an_image_that_was_not_trained_on_is_told_from_one_that_was(head, pictures, tmp_path) -> None:
    new = draw(tmp_path / "new.png", 1000)
    old = tmp_path / "renamed.png"
    old.write_bytes((pictures / "normal" / "03.png").read_bytes())
    rows = head.predict([new, old]).rows
    assert [(Path(row["path"]).name, row["in_training"]) for row in rows] == [
        ("new.png", False),
        ("renamed.png", True),
    ]


def test_vectors_that_a_cache_holds_are_not_computed_again_and_the_cache_stays_as_it_was(
    head, trained, pictures, tmp_path, monkeypatch
) -> None:
    before = trained.read_bytes()
    new = draw(pictures / "normal" / "new.png", 500)
    computed = head.predict(pictures, **QUIET)
    monkeypatch.setattr(engines, "load", None)  # nothing may be loaded from here on
    new.unlink()
    reused = head.predict(pictures, reuse=trained, **QUIET)
    assert trained.read_bytes() == before
    both = shares(computed)
    for path, values in shares(reused).items():
        np.testing.assert_allclose(values, both[path], atol=1e-6)


def test_vectors_of_another_recipe_are_refused_by_the_field_that_differs(
    head, trained, pictures, tmp_path
) -> None:
    api.extract(pictures, tmp_path / "other.h5", backbone="efficientnetlite0", weights="random:1")
    with pytest.raises(errors.RecipeMismatch, match=r"weights differs: .* ≠ random:1"):
        head.predict(tmp_path / "other.h5")
    with pytest.raises(errors.RecipeMismatch, match="weights differs"):
        head.predict(pictures, reuse=tmp_path / "other.h5")
    with pytest.raises(errors.WeightsError, match="random:1 are others"):
        head.predict(pictures, weights="random:1")


class Drifted(SmallNetwork):
    """A network whose vectors are a hundredth away from those it was trained with."""

    def run(self, pixels):
        output = super().run(pixels)
        return type(output)({name: 1.01 * values for name, values in output.vectors.items()}, output.maps)


def test_a_network_that_has_drifted_scores_nothing(head, trained, pictures, monkeypatch) -> None:

    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: Drifted(batch_size))
    with pytest.raises(errors.CanaryDrift, match="--accept-drift"):
        head.predict(pictures, **QUIET)
    assert len(head.predict(pictures, accept_drift=True, **QUIET)) == 81


def test_evaluation_refuses_training_images_unless_told_otherwise(head, trained, pictures, tmp_path) -> None:
    with pytest.raises(errors.TrainingOverlap, match=r"80 images were trained on, such as covid/00\.png"):
        head.evaluate(trained)
    found = head.evaluate(trained, allow_training=True, **QUIET)
    assert found["samples"] == 81
    assert found["failed"] == 1
    assert found["in_training"] == {"images": 80, "patients": None}
    assert sum(map(sum, found["confusion"])) == 80
    assert set(found["accuracy"]) >= {"value", "low", "high"}
    json.dumps(found, allow_nan=False)


def test_evaluation_counts_what_it_cannot_judge_and_guesses_nothing(head, trained, tmp_path) -> None:
    lines = ["path,label"]
    for number in range(12):
        draw(tmp_path / f"{number}.png", 300 + number, bright=number % 2 == 0)
        label = ["covid", "normal"][number % 2] if number < 8 else ["", "tumour"][number % 2]
        lines.append(f"{number}.png,{label}")
    (tmp_path / "external.csv").write_text("\n".join(lines) + "\n")
    found = head.evaluate(tmp_path / "external.csv", **QUIET)
    assert (found["samples"], found["judged"], found["unlabelled"]) == (12, 8, 2)
    assert found["unknown_labels"] == {"tumour": 2}
    assert sum(map(sum, found["confusion"])) == 8


def test_training_patients_are_known_by_the_key_beside_the_cache_and_by_nothing_else(
    make_cache, two_clouds, tmp_path
) -> None:
    X, labels = two_clouds
    patients = [f"p{number // 2}" for number in range(120)]
    cache = make_cache(X, labels, patients)
    head = icehouse.fit_head(cache, "logistic", out=tmp_path / "model.head", **QUIET)
    assert b"p17" not in (tmp_path / "model.head").read_bytes()
    # Other images of patients 50 to 59, and of ten strangers.
    content = np.random.default_rng(9).integers(0, 256, (40, 32), dtype=np.uint8)
    names = [f"p{50 + number // 2}" for number in range(20)] + [f"q{number // 2}" for number in range(20)]
    other = make_cache(X[:40] + 0.1, labels[:40], names, content=content, name="other.h5")
    with pytest.raises(errors.TrainingOverlap, match="10 patients were trained on, such as p50, p51, p52"):
        head.evaluate(other, **QUIET)
    (tmp_path / FILE).rename(tmp_path / "away")
    told: list[str] = []
    found = head.evaluate(other, note=told.append)
    assert found["in_training"] == {"images": 0, "patients": None}
    assert any("cannot be known" in text for text in told)


def test_a_run_says_what_to_expect_and_one_of_something_else_is_refused(trained, tmp_path) -> None:
    run = icehouse.run_rounds(trained, ["svm", "logistic"], 3, out=tmp_path / "run", controls=False, **QUIET)
    head = icehouse.fit_head(trained, "svm", from_run=tmp_path / "run", **QUIET)
    expected = head.document["expected"]
    assert expected["rounds"] == 3
    for name, values in expected["metrics"].items():
        assert values["mean"] == run.document["heads"]["svm"][name]["mean"]
    with pytest.raises(errors.BundleError, match="did not judge knn; it judged svm, logistic"):
        icehouse.fit_head(trained, "knn", from_run=tmp_path / "run", **QUIET)
    with pytest.raises(errors.BundleError, match="--reduce differs, none there and 4 here"):
        icehouse.fit_head(trained, "svm", reduce=4, from_run=tmp_path / "run", **QUIET)


def test_an_estimator_of_ones_own_is_refused_with_the_reason(trained) -> None:
    from sklearn.linear_model import RidgeClassifier

    with pytest.raises(errors.UsageError, match="no file from a stranger can run code"):
        icehouse.fit_head(trained, ("ridge", RidgeClassifier()), **QUIET)


def test_frames_of_a_volume_are_rows_of_their_own_and_roll_up_to_their_file(head, tmp_path) -> None:
    pages = np.random.default_rng(0).integers(0, 4096, (5, 48, 56), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    draw(tmp_path / "single.png", 7)
    found = head.predict(tmp_path, by="path", rule="any", frames="every:2", **QUIET)
    assert [(row["path"], row["frame"]) for row in found.images] == [
        ("single.png", 0),
        ("stack.tif", 0),
        ("stack.tif", 2),
        ("stack.tif", 4),
    ]
    assert [(row["path"], row["slices"], row["selected"]) for row in found.rows] == [
        ("single.png", 1, 1),
        ("stack.tif", 5, 3),
    ]


def test_a_head_of_two_layers_takes_both_and_a_cache_of_one_is_refused(
    make_cache, two_clouds, tmp_path
) -> None:
    X, labels = two_clouds
    make_cache(X, labels, name="both.h5", more={"pyramid_8": X[:, :5]})
    make_cache(X, labels, name="one.h5")
    fitted = icehouse.fit_head(tmp_path / "both.h5", "pyramid:epochs=3", layer="pyramid", **QUIET)
    fitted.save(tmp_path / "two.head")
    kept = icehouse.load_head(tmp_path / "two.head")
    assert kept.document["layers"] == ["avg_pool", "pyramid_8"]
    assert shares(kept.predict(tmp_path / "both.h5")) == shares(fitted.predict(tmp_path / "both.h5"))
    with pytest.raises(errors.RecipeMismatch, match="holds avg_pool, and not pyramid_8"):
        kept.predict(tmp_path / "one.h5")


def test_a_file_whose_later_page_is_damaged_has_no_answer_at_all(head, tmp_path) -> None:
    pages = np.random.default_rng(0).integers(0, 4096, (3, 48, 56), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack", compression="zlib")
    whole = (tmp_path / "stack.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "stack.tif") as file:
        begin = file.pages[2].dataoffsets[0]
    (tmp_path / "stack.tif").write_bytes(whole[:begin] + bytes(len(whole) - begin))
    found = head.predict(tmp_path, by="path", rule="any", **QUIET)
    assert [(row["predicted"], bool(row["error"])) for row in found.images] == [(None, True)]
    assert [(row["predicted"], row["selected"], row["failed"]) for row in found.rows] == [("undecided", 0, 1)]


def test_nothing_but_a_bundle_or_a_table_is_ever_replaced(head, trained, tmp_path) -> None:
    copy = tmp_path / "copy.h5"
    copy.write_bytes(trained.read_bytes())
    picture = draw(tmp_path / "picture.png", 1)
    head.save(tmp_path / "model.head")
    for path in (copy, picture, tmp_path / "model.head"):
        before = path.read_bytes()
        with pytest.raises(errors.OutputExists, match="is no table of predictions"):
            head.predict(copy).write(path, overwrite=True)
        if path.suffix != ".head":
            with pytest.raises(errors.OutputExists, match="is no bundle"):
                icehouse.fit_head(copy, "logistic", out=path, overwrite=True, **QUIET)
        assert path.read_bytes() == before
    head.save(tmp_path / "model.head", overwrite=True)
    head.predict(copy).write(tmp_path / "table.csv")
    head.predict(copy).write(tmp_path / "table.csv", overwrite=True)


def test_accepted_drift_is_told(head, pictures, monkeypatch) -> None:
    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: Drifted(batch_size))
    found = head.predict(pictures, accept_drift=True, **QUIET)
    assert any(
        text.startswith("Accepted drift: the vectors are 1.0e-02 away") for text in found.predictions.notes
    )


def test_a_run_of_other_images_or_with_patients_on_both_sides_says_nothing_of_a_head(
    make_cache, two_clouds, tmp_path
) -> None:
    X, labels = two_clouds
    patients = [f"p{number // 2}" for number in range(120)]
    cache = make_cache(X, labels, patients)
    content = np.random.default_rng(9).integers(0, 256, (120, 32), dtype=np.uint8)
    other = make_cache(X, labels, patients, content=content, name="other.h5")
    options = {"controls": False, **QUIET}
    icehouse.run_rounds(other, ["svm"], 2, out=tmp_path / "other", **options)
    with pytest.raises(errors.BundleError, match="120 of its 120 images are not among these"):
        icehouse.fit_head(cache, "svm", from_run=tmp_path / "other", **QUIET)
    icehouse.run_rounds(cache, ["svm"], 2, out=tmp_path / "leaky", grouped=False, **options)
    with pytest.raises(errors.BundleError, match="patients together differs, no there and yes here"):
        icehouse.fit_head(cache, "svm", from_run=tmp_path / "leaky", **QUIET)
    icehouse.run_rounds(cache, ["svm"], 2, out=tmp_path / "run", **options)
    plain = icehouse.fit_head(cache, "svm", from_run=tmp_path / "run", **QUIET).document["expected"]["metrics"]
    assert "accuracy" in plain
    assert "brier" not in plain  # it is calibrated, and the run's was not
    chosen = icehouse.fit_head(cache, "svm", sensitivity=0.9, from_run=tmp_path / "run", **QUIET).document
    assert set(chosen["expected"]["metrics"]) == {"roc_auc"}
    assert chosen["threshold"]["out_of_fold"]["sensitivity"] >= 0.9


def test_slices_without_a_label_of_trained_patients_are_refused_too(make_cache, two_clouds, tmp_path) -> None:
    X, labels = two_clouds
    patients = [f"p{number % 40}" for number in range(120)]
    cache = make_cache(X, labels, patients)
    head = icehouse.fit_head(cache, "logistic", **QUIET)
    lines = [f"{number}.png,,{label}" for number, label in enumerate(labels)]
    (tmp_path / "own.csv").write_text("\n".join(["path,label,patient_label", *lines]) + "\n")
    with pytest.raises(
        errors.TrainingOverlap, match=r"120 images were trained on, such as 0\.png; 40 patients were"
    ):
        head.evaluate(cache, by="patient", rule="any", labels=tmp_path / "own.csv", **QUIET)


def test_auto_takes_a_patients_own_label_before_that_of_its_slices(make_cache, tmp_path) -> None:
    generator = np.random.default_rng(5)
    ill = np.arange(40) % 2 == 1
    slices = np.repeat(ill, 10) & (np.tile(np.arange(10), 40) < 3)  # three of ten slices of an ill patient
    X = (generator.normal(size=(400, 8)) + 6 * slices[:, None]).astype(np.float32)
    cache = make_cache(
        X, ["covid" if each else "normal" for each in slices], [f"p{n // 10}" for n in range(400)]
    )
    own = ["covid" if each else "normal" for each in np.repeat(ill, 10)]
    lines = [f"{number}.png,{label}" for number, label in enumerate(own)]
    (tmp_path / "own.csv").write_text("\n".join(["path,patient_label", *lines]) + "\n")
    head = icehouse.fit_head(cache, "logistic", labels=tmp_path / "own.csv", **QUIET)
    found = head.predict(cache, by="patient", rule="auto", note=lambda _: None)
    assert found.rolled.rule.fraction <= 0.3
    assert [row["predicted"] == "covid" for row in found.rows] == ill.tolist()


def test_pseudonyms_whose_key_was_lost_are_not_promised_to_be_known_again(make_cache, two_clouds) -> None:
    X, labels = two_clouds
    cache = make_cache(X, labels, [f"patient-{number // 2:012x}" for number in range(120)])
    told: list[str] = []
    head = icehouse.fit_head(cache, "logistic", note=told.append)
    assert any("key that made them" in text for text in told)
    assert not (cache.parent / FILE).exists()
    assert head.bundle.training.mark == ""
