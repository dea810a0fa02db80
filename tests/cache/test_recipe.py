"""Promises about recipes: what they hash to, and how they are told apart."""

from __future__ import annotations

import pytest
from icehouse.cache import recipe
from icehouse.extract import decode
from icehouse.extract.settings import Settings, set_up

RECIPE = {"backbone": "inceptionv3", "size": 299, "intensity": {"8-bit": "full", "other": "max"}}


def test_the_order_of_fields_does_not_matter() -> None:
    assert recipe.fingerprint(RECIPE, "avg_pool") == recipe.fingerprint(
        dict(reversed(RECIPE.items())), "avg_pool"
    )


def test_every_layer_has_a_fingerprint_of_its_own() -> None:
    prints = recipe.fingerprints(RECIPE, ("avg_pool", "mixed7"))
    assert len(set(prints.values())) == 2
    assert all(len(value) == 64 for value in prints.values())


def test_a_difference_names_the_field_with_dots_and_both_values() -> None:
    other = {**RECIPE, "intensity": {"8-bit": "full", "other": "full"}}
    (found,) = recipe.differences(RECIPE, other)
    assert str(found) == "intensity.other differs: max ≠ full"


def test_a_digest_is_shown_by_its_first_digits() -> None:
    a, b = ({"weights": f"sha256:{digit * 64}"} for digit in "3f")
    assert str(recipe.differences(a, b)[0]) == "weights differs: 33333333… ≠ ffffffff…"


def test_a_field_that_only_one_recipe_has_is_a_difference() -> None:
    assert [found.field for found in recipe.differences(RECIPE, {**RECIPE, "engine": "keras"})] == ["engine"]


def test_equal_recipes_have_no_differences() -> None:
    assert recipe.differences(RECIPE, dict(RECIPE)) == []


def test_a_recipe_that_is_no_json_cannot_be_hashed() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        recipe.fingerprint({"scale": float("nan")}, "avg_pool")


def test_backbone_and_weights_are_in_the_recipe_and_batch_size_and_workers_are_not() -> None:
    base = set_up(Settings(backbone="resnet50", weights="random:0", batch_size=7, workers=3)).recipe
    other_weights = set_up(Settings(backbone="resnet50", weights="random:1")).recipe
    other_backbone = set_up(Settings(backbone="resnet50v2", weights="random:0")).recipe
    assert [found.field for found in recipe.differences(base, other_weights)] == ["weights"]
    assert {found.field for found in recipe.differences(base, other_backbone)} == {"backbone", "scaling"}
    assert not {"batch_size", "workers", "device"} & set(base)
    assert set(decode.Preparation(224).recipe()) <= set(base)
