"""Promises about bringing a recipe back to what computes it: exactly, or refused by the field."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from icehouse import errors
from icehouse.cache.recipe import unaltered_differences as differing
from icehouse.extract import weights as weight_files
from icehouse.extract.matching import settings_of, setup_for
from icehouse.extract.settings import Settings, set_up

LITE = Settings(backbone="efficientnetlite0")
RANDOM = Settings(backbone="resnet50", weights="random:7")
MANY = [
    LITE,
    RANDOM,
    replace(RANDOM, backbone="inceptionv3", weights="random:0"),
    *(replace(LITE, intensity=text) for text in ("max", "full", "voi", "lung", "window:40,400")),
    replace(LITE, intensity="lung/mediastinum/bone"),
    replace(LITE, intensity="percentile:0.25,99"),
    *(replace(LITE, resize=policy) for policy in ("stretch", "pad", "crop")),
    replace(LITE, size=128),
    replace(LITE, size="native"),
    replace(LITE, size="native", resize="crop"),
    *(replace(RANDOM, scaling=name) for name in ("none", "unit", "tf", "torch", "caffe", "backbone")),
    replace(LITE, augment="flips,rotate:12.5,seed:3"),
    *(replace(RANDOM, precision=name, engine="openvino") for name in ("bfloat16", "float16")),
    replace(RANDOM, precision="bfloat16", engine="keras"),
    replace(RANDOM, size=96, resize="pad", intensity="bone", scaling="none", augment="zoom:0.1,seed:9"),
]


def setup(recipe: dict[str, Any], **options: Any) -> Any:
    return setup_for(recipe, ("avg_pool",), "all", where="model.head", **options)


@pytest.mark.parametrize("settings", MANY, ids=range(len(MANY)))
def test_a_recipe_leads_back_to_a_setup_of_that_very_recipe(settings) -> None:
    recipe = set_up(settings).recipe
    assert set_up(settings_of(recipe)).recipe == recipe
    again = setup(recipe)
    assert again.recipe == recipe
    assert (again.settings.views, again.plan.layers) == (1, ("avg_pool",))
    assert again.canary_preparation.size == set_up(settings).canary_preparation.size


def test_what_changes_no_vector_is_the_users_choice() -> None:
    made = setup(set_up(LITE).recipe, batch_size=5, workers=3, engine="keras")
    assert (made.batch_size, made.settings.threads(), made.plan.engine) == (5, 3, "keras")
    assert setup(set_up(LITE).recipe).plan.engine == "auto"


def test_scales_of_a_pyramid_are_asked_for_as_the_pyramid() -> None:
    layers = ("avg_pool", "pyramid_8", "pyramid_16")
    made = setup_for(set_up(LITE).recipe, layers, "open-lung:300", where="model.head")
    assert made.plan.layers == ("avg_pool", "pyramid")
    assert made.rule.text == "open-lung:300"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("decoder", "icehouse/99", "decoder differs: icehouse/99 ≠ icehouse/"),
        ("resizer", "other/1", "resizer differs"),
        ("dtype", "float16", "dtype differs"),
        ("engine", "openvino", "engine differs: openvino ≠ null"),
        ("engine", "abacus", "engine 'abacus'"),
        ("intensity", {"8-bit": "full", "x-ray": "full", "ct": "bone", "other": "max"}, "intensity.ct differs"),
        ("intensity", "sepia", "--intensity sepia is not known"),
        ("intensity", ["lung"], "intensity differs"),
        ("augment", "affine-cubic/2,seed:0", "augment"),
        ("scaling", "logarithm", "scaling 'logarithm'"),
        ("resize", "fold", "resize 'fold'"),
        ("precision", "int4", "precision 'int4'"),
        ("size", 10**7, "size '10000000'"),
        ("size", "huge", "size 'huge'"),
        ("size", -3, "size '-3'"),
        ("backbone", "resnet9000", "backbone 'resnet9000'"),
        ("backbone", "model:/etc/hostname", "backbone 'model:/etc/hostname'"),
        ("weights", "random:" + "9" * 5000, "weights 'random:9999"),
        ("weights", "/etc/passwd", "weights '/etc/passwd'"),
        ("weights", None, "weights 'None'"),
        ("colour", "sepia", "colour differs"),
    ],
)
def test_what_cannot_be_brought_about_is_refused_by_the_field(field, value, message) -> None:
    with pytest.raises(errors.RecipeMismatch) as caught:
        setup({**set_up(LITE).recipe, field: value})
    assert message in str(caught.value)
    assert str(caught.value).startswith("model.head ")


def test_a_missing_field_is_refused_by_its_name() -> None:
    recipe = set_up(LITE).recipe
    for field in recipe.keys() - {"kind", "engine"}:
        less = {name: value for name, value in recipe.items() if name != field}
        with pytest.raises(errors.RecipeMismatch, match=field):
            setup(less)


def test_vectors_that_icehouse_did_not_compute_cannot_be_computed() -> None:
    for recipe in ({"kind": "foreign", "origin": "a colleague"}, {}):
        with pytest.raises(errors.BundleError, match="give a cache of such vectors instead"):
            setup(recipe)


def test_an_engine_or_rule_that_the_user_mistyped_is_wrong_usage() -> None:
    recipe = set_up(LITE).recipe
    with pytest.raises(errors.UsageError, match="--engine abacus"):
        setup(recipe, engine="abacus")
    with pytest.raises(errors.UsageError, match="some"):
        setup_for(recipe, ("avg_pool",), "some", where="model.head")


def test_weights_that_are_not_imagenets_must_be_given_and_be_the_right_ones(tmp_path) -> None:
    file, other = tmp_path / "own.h5", tmp_path / "other.h5"
    file.write_bytes(b"weights")
    other.write_bytes(b"others")
    digest = hashlib.sha256(b"weights").hexdigest()
    recipe = set_up(replace(LITE, weights=str(file))).recipe
    assert setup(recipe, weights=str(file)).plan.weights.path == file
    wanted = f"weights of efficientnetlite0, SHA-256 {digest}: give the file with --weights FILE"
    with pytest.raises(errors.WeightsError, match=f"ImageNet's.* are others, SHA-256 .*{wanted}"):
        setup(recipe)
    with pytest.raises(errors.WeightsError, match=f"{other} are others, SHA-256 .*{wanted}"):
        setup(recipe, weights=str(other))
    with pytest.raises(errors.WeightsNotFound, match=f"{wanted}.*no weights file"):
        setup(recipe, weights=str(tmp_path / "none.h5"))
    with pytest.raises(errors.WeightsError, match="leave out --weights"):
        setup(set_up(RANDOM).recipe, weights=str(file))


def test_imagenet_weights_that_are_nowhere_are_named_by_what_the_head_wants(tmp_path, monkeypatch) -> None:
    def offline(_backbone: Any) -> Path:
        raise errors.WeightsNotFound("They could not be downloaded.")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("ICEHOUSE_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(weight_files, "_download", offline)
    recipe = {**set_up(RANDOM).recipe, "weights": f"sha256:{'ab' * 32}"}
    with pytest.raises(errors.WeightsNotFound, match=f"weights of resnet50, SHA-256 {'ab' * 32}.*downloaded"):
        setup(recipe)


def test_a_model_file_is_asked_for_by_its_hash_and_another_is_not_opened(tmp_path) -> None:
    file = tmp_path / "other.keras"
    file.write_bytes(b"no model at all")
    recipe = {**set_up(LITE).recipe, "backbone": "model", "weights": f"sha256:{'cd' * 32}"}
    with pytest.raises(errors.WeightsNotFound, match=f"the model file of its maker, SHA-256 {'cd' * 32}"):
        setup(recipe)
    with pytest.raises(errors.WeightsError, match="is another file"):
        setup(recipe, weights=str(file))
    with pytest.raises(errors.WeightsNotFound, match="cannot be read"):
        setup(recipe, weights=str(tmp_path / "none.keras"))


def test_how_other_views_are_drawn_makes_no_difference_to_the_unaltered_one() -> None:
    recipe = set_up(LITE).recipe
    assert differing(recipe, set_up(replace(LITE, augment="flips")).recipe) == []
    (found,) = differing(recipe, set_up(replace(LITE, augment="flips", size=128)).recipe)
    assert found.field == "size"
