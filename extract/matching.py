"""From a recipe back to the network and the preparation that it was made by: how a head's images are computed.

It is the inverse of `settings.set_up`, and whatever it cannot bring about is refused by the field.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import errors
from ..cache.recipe import Difference, Recipe, differences, sentence
from . import backbones, engines, frames, resize
from .layers import PYRAMID
from .settings import NATIVE, PRECISIONS, Settings, Setup, set_up
from .weights import IMAGENET

MODEL = backbones.MODEL.rstrip(":")
"""What a recipe calls the backbone in a model file of its maker's own."""

_LARGEST = 4096
"""Pixels of an input side that a recipe may ask for; the canaries alone then take 600 MB."""

_KNOWN: dict[str, Collection[str]] = {
    "backbone": {*backbones.BACKBONES, MODEL},
    "scaling": backbones.SCALINGS,
    "resize": {*resize.POLICIES, "none"},
    "precision": PRECISIONS,
}
"""What fields may say; no path is among it, as a stranger may have written the recipe."""

_SHA256 = re.compile("sha256:[0-9a-f]{64}")
_RANDOM = re.compile("random:[0-9]{1,20}")
_STAGE = re.compile(f"{PYRAMID}_[0-9]+")


def setup_for(
    recipe: Recipe,
    layers: Sequence[str],
    rule: str,
    *,
    where: str,
    weights: str | None = None,
    engine: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    trust_model: bool = False,
) -> Setup:
    """Return the setup whose recipe is exactly `recipe`: weights are looked for, nothing is loaded.

    Parameters
    ----------
    recipe : mapping
        That of a head's vectors, as a bundle holds it; nothing in it is trusted.
    layers : sequence of str
        The layers of the vectors, as a cache names them.
    rule : str
        Which frames are taken; see `frames.parse`.
    where : str
        Whose recipe it is, for messages, such as "model.head".
    weights : str, optional
        The file of the weights, or of the model where the recipe's backbone is one; needed unless they are
        ImageNet's or random.
    engine, batch_size, workers, trust_model
        See `Settings`; below float32 the recipe names the engine.

    Raises
    ------
    BundleError
        If the vectors were not computed by icehouse, so that no image can be brought to them.
    WeightsError
        If the weights are not on this machine, or those given are others.
    RecipeMismatch
        If this icehouse, or what is installed with it, makes no such vectors; the message names the field.
    UsageError
        If `rule` or `engine` is not known.
    """
    if recipe.get("kind") != "icehouse":
        raise errors.BundleError(
            f"{where} was made from vectors that icehouse did not compute ({_kind(recipe)}), so it cannot "
            "compute them of images: give a cache of such vectors instead."
        )
    settings = settings_of(recipe, layers, rule, where=where, weights=weights, engine=engine)
    settings = replace(settings, batch_size=batch_size, workers=workers, trust_model=trust_model)
    settings.check()
    frames.parse(rule)
    try:
        setup = set_up(settings)
    except errors.UsageError as error:
        raise errors.RecipeMismatch(
            f"{where} asks for what this icehouse cannot do: {error} It was made by another version."
        ) from None
    except errors.WeightsNotFound as error:
        raise errors.WeightsNotFound(f"{_wanted(recipe, where)} {error}") from None
    if found := differences(recipe, setup.recipe):
        raise _mismatch(recipe, found, where, weights)
    return setup


def settings_of(
    recipe: Recipe,
    layers: Sequence[str] = (),
    rule: str = "all",
    *,
    where: str = "the recipe",
    weights: str | None = None,
    engine: str = "auto",
) -> Settings:
    """Return the settings that `recipe` follows from; see `setup_for`, which sees that it does.

    Raises
    ------
    WeightsError
        If the file of a model is not given, or another one.
    RecipeMismatch
        If a field is of no kind that any settings lead to.
    """
    fields = {name: recipe.get(name) for name in (*_KNOWN, "augment")}
    for name, value in fields.items():
        if not isinstance(value, str) or value not in _KNOWN.get(name, (value,)):
            raise _unknown(where, name, value)
    size, policy, made_by = recipe.get("size"), recipe.get("intensity"), recipe.get("engine")
    if size != NATIVE and (not isinstance(size, int) or not 1 <= size <= _LARGEST):
        raise _unknown(where, "size", size)
    if made_by is not None and str(made_by).partition("-")[0] not in engines.CHOICES:
        raise _unknown(where, "engine", made_by)
    if made_by is not None and engine == "auto":
        engine = str(made_by).partition("-")[0]
    backbone = str(fields["backbone"])
    if backbone == MODEL:
        backbone, weights = _model(recipe, where, weights), IMAGENET
    return Settings(
        backbone=backbone,
        weights=_weights(recipe, where) if weights is None else weights,
        intensity=policy if isinstance(policy, str) else None,
        scaling=str(fields["scaling"]),
        frames=rule,
        resize=Settings.resize if fields["resize"] == "none" else str(fields["resize"]),
        size=size,
        augment=str(fields["augment"]),
        layers=tuple(dict.fromkeys(PYRAMID if _STAGE.fullmatch(name) else name for name in layers)) or None,
        engine=engine,
        precision=str(fields["precision"]),
    )


def _weights(recipe: Recipe, where: str) -> str:
    identity = recipe.get("weights")
    if isinstance(identity, str) and _RANDOM.fullmatch(identity):
        return identity
    if isinstance(identity, str) and _SHA256.fullmatch(identity):
        return IMAGENET  # whether they are is seen once they are found
    raise _unknown(where, "weights", identity)


def _model(recipe: Recipe, where: str, file: str | None) -> str:
    """Return the backbone in the user's model file, which is not opened unless it is the one wanted."""
    if file is None:
        raise errors.WeightsNotFound(_wanted(recipe, where))
    try:
        with Path(file).open("rb") as opened:
            found = f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"
    except OSError as error:
        raise errors.WeightsNotFound(
            f"{file} cannot be read ({error.strerror}). {_wanted(recipe, where)}"
        ) from None
    if found != recipe.get("weights"):
        raise errors.WeightsError(f"{file} is another file, of {found}. {_wanted(recipe, where)}")
    return f"{backbones.MODEL}{file}"


def _wanted(recipe: Recipe, where: str) -> str:
    name = recipe.get("backbone")
    if not _SHA256.fullmatch(str(recipe.get("weights"))):
        return f"{where} wants {name} with the weights {_digest(recipe)}: leave out --weights."
    what = "the model file of its maker" if name == MODEL else f"weights of {name}"
    return f"{where} wants {what}, {_digest(recipe)}: give the file with --weights FILE."


def _digest(recipe: Recipe) -> str:
    return str(recipe.get("weights"))[:80].replace("sha256:", "SHA-256 ")


def _mismatch(
    recipe: Recipe, found: list[Difference], where: str, weights: str | None
) -> errors.RecipeMismatch | errors.WeightsError:
    """Return the error for what would be otherwise; weights come first, as others can be given."""
    for difference in found:
        if difference.field == "weights":
            given = "ImageNet's, as they are on this machine," if weights is None else weights
            return errors.WeightsError(
                f"{given} are others, {str(difference.second).replace('sha256:', 'SHA-256 ')}. "
                f"{_wanted(recipe, where)}"
            )
    return errors.RecipeMismatch(
        f"{where} needs vectors of another recipe than this icehouse makes here: {sentence(found)}. "
        "Use the version and the engine that it was made with, or fit a head on vectors computed here."
    )


def _unknown(where: str, field: str, value: Any) -> errors.RecipeMismatch:
    return errors.RecipeMismatch(
        f"{where} has the {field} {str(value)[:60]!r} in its recipe, which this icehouse does not know. Use "
        "the version that it was made with."
    )


def _kind(recipe: Recipe) -> str:
    return f"their recipe is of the kind {str(recipe.get('kind'))[:40]!r}"
