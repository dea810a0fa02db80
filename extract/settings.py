"""What the user may choose, and what follows from it: the network, the preparation of pixels, the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import joblib

from .. import errors
from ..cache.store import Cache
from . import backbones, engines, frames, intensity, resize, views
from . import weights as weight_files
from .decode import Preparation
from .weights import Weights

NATIVE = "native"
PRECISIONS = ("float32", "bfloat16", "float16")
BACKBONES_OWN = "backbone"
_STRETCH = resize.STRETCH  # a field below has the module's name
_USUAL_PIXELS = 331 * 331
_USUAL_BATCH = 32
_USUAL_DIMENSIONS = 2048
_CANARY_SIZE = 224
"""What the canaries are brought to where pictures keep their own size and the backbone has none."""


@dataclass(frozen=True)
class Settings:
    """What the user may choose; the last four change no vector.

    Parameters
    ----------
    backbone : str
        One of `backbones.BACKBONES`, or `model:PATH`.
    weights : str
        `imagenet`, a file, or `random:SEED`.
    intensity : str or None
        See `intensity.parse`; by the kind of file unless told.
    scaling : str
        `backbone` for its own, or a key of `backbones.SCALINGS`.
    frames : str
        See `frames.parse`.
    resize : str
        One of `resize.POLICIES`.
    size : int, str or None
        Height and width in pixels, or `native`; the backbone's own unless told.
    views : int
        How many variants of each frame, itself included.
    augment : str, optional
        See `views.parse`; that of the cache, if there is one, or `views.DEFAULT` unless told.
    layers : sequence of str, optional
        `avg_pool`, names of layers, `pyramid`; those of the cache, if there is one, or `avg_pool` unless told.
    engine : str
        One of `engines.CHOICES`.
    precision : str
        One of `PRECISIONS`.
    trust_model : bool
        Run what a model file asks for, Lambda layers included.
    batch_size : int or None
        Chosen by itself unless told.
    workers : int or None
        Threads that decode; one per processor unless told.
    accept_drift : bool
        Add vectors even if the canaries' differ.
    """

    backbone: str = backbones.DEFAULT
    weights: str = "imagenet"
    intensity: str | None = None
    scaling: str = BACKBONES_OWN
    frames: str = "all"
    resize: str = _STRETCH
    size: int | str | None = None
    views: int = 1
    augment: str | None = None
    layers: Sequence[str] | None = None
    engine: str = "auto"
    precision: str = "float32"
    trust_model: bool = False
    batch_size: int | None = None
    workers: int | None = None
    accept_drift: bool = False

    def check(self) -> None:
        """Raise `UsageError` for values that no extraction can have."""
        counts = {"workers": self.workers, "batch_size": self.batch_size, "views": self.views}
        for name, value in counts.items():
            if value is not None and (not isinstance(value, int) or value < 1):
                raise errors.UsageError(f"{name} must be a whole number of 1 or more, not {value!r}.")
        if self.views > views.MOST:
            raise errors.UsageError(f"views go up to {views.MOST}, not {self.views}.")
        choices = {
            "resize": resize.POLICIES,
            "engine": engines.CHOICES,
            "precision": PRECISIONS,
            "scaling": (BACKBONES_OWN, *backbones.SCALINGS),
        }
        for name, known in choices.items():
            if (given := getattr(self, name)) not in known:
                raise errors.UsageError(f"--{name} {given} is not known; there are {', '.join(known)}.")
        if self.layers is not None and len({*self.layers}) != max(len(self.layers), 1):
            raise errors.UsageError("Name each layer once, and at least one.")

    def threads(self) -> int:
        """Return how many threads decode."""
        return int(joblib.cpu_count()) if self.workers is None else self.workers


@dataclass(frozen=True)
class Setup:
    """What follows from settings.

    Parameters
    ----------
    settings : Settings
    plan : engines.Plan
        Its engine may be `auto`.
    preparation : Preparation
    canary_preparation : Preparation
        That of the canaries: with a size where pictures keep their own, and by the default policies, as no
        other one can be had of all three.
    rule : frames.Rule
    recipe : dict
        Everything that decides a vector's values but the layer, and nothing else.
    """

    settings: Settings
    plan: engines.Plan
    preparation: Preparation
    canary_preparation: Preparation
    rule: frames.Rule
    recipe: dict[str, Any]

    @property
    def selection(self) -> dict[str, Any]:
        """Which frames, views and layers become rows: kept with a cache, but no part of its recipe."""
        return {"frames": self.rule.text, "views": self.settings.views, "layers": list(self.plan.layers)}

    @property
    def batch_size(self) -> int:
        """The batch asked for, or one that takes about as much memory whatever the size of its pictures."""
        if self.settings.batch_size is not None:
            return self.settings.batch_size
        size = self.plan.size
        return (
            _USUAL_BATCH if size is None else max(1, min(_USUAL_BATCH, _USUAL_BATCH * _USUAL_PIXELS // size**2))
        )

    @property
    def bytes_per_row(self) -> int:
        """About what a row takes in a cache; vectors whose length is not known yet are taken to be usual."""
        dimensions = self.plan.backbone.dimensions or _USUAL_DIMENSIONS
        return dimensions * 4 * len(self.plan.layers) + 256 + 32 + 4 + 2


def going_on(setup: Setup, old: Cache) -> Setup:
    """Return a setup in which the user's silence on augmentation and layers means those of the cache."""
    settings, plan, held = setup.settings, setup.plan, old.header
    if settings.layers is None:
        plan = replace(plan, layers=tuple(held.selection.get("layers", old.layers)))
    preparation, recipe, kept = setup.preparation, setup.recipe, held.recipe.get("augment")
    if settings.augment is None and isinstance(kept, str) and kept.startswith(views.AUGMENTER):
        preparation = replace(preparation, augmentation=views.parse(kept))
        recipe = {**recipe, **preparation.recipe()}
    return replace(setup, plan=plan, preparation=preparation, recipe=recipe)


def preparation_of(settings: Settings) -> Preparation:
    """Return what the network sees of a picture; weights are not looked for.

    Raises
    ------
    UsageError
        For values that are not known.
    """
    settings.check()
    backbone = backbones.find(settings.backbone)
    size = _size(settings.size, backbone)
    backbone.check_size(size)
    policies, augmentation = intensity.parse(settings.intensity), views.parse(settings.augment or views.DEFAULT)
    return Preparation(size, settings.resize, policies, backbone.least, augmentation)


def set_up(settings: Settings) -> Setup:
    """Return what follows from `settings`: weights are looked for, nothing is loaded.

    Raises
    ------
    UsageError
        For values that are not known, or do not go together.
    WeightsError
        If there are no such weights.
    """
    preparation = preparation_of(settings)
    backbone = backbones.find(settings.backbone)
    weights = weight_files.resolve(settings.weights, backbone)
    canary_size = preparation.size or backbone.size or _CANARY_SIZE
    scaling = backbone.scaling if settings.scaling == BACKBONES_OWN else settings.scaling
    if scaling is None:
        known = ", ".join(backbones.SCALINGS)
        raise errors.UsageError(
            f"How {settings.backbone} wants its pixels is not known: give --scaling ({known})."
        )
    plan = engines.Plan(
        backbone=backbone,
        weights=weights,
        size=preparation.size,
        scaling=scaling,
        layers=(engines.LAYER,) if settings.layers is None else tuple(settings.layers),
        engine=settings.engine,
        precision=settings.precision,
        trust_model=settings.trust_model,
    )
    return Setup(
        settings=settings,
        plan=plan,
        preparation=preparation,
        canary_preparation=Preparation(canary_size, preparation.policy),
        rule=frames.parse(settings.frames),
        recipe=_recipe(plan, preparation, weights),
    )


def _size(given: int | str | None, backbone: backbones.Backbone) -> int | None:
    """Return height and width, or None for pictures of their own size."""
    if given is None:
        if backbone.size is None:
            raise errors.UsageError(
                f"{backbone.model or backbone.name} takes pictures of any size: give --size N or --size native."
            )
        return backbone.size
    if given == NATIVE:
        return None
    try:
        size = int(given)
    except ValueError:
        size = 0
    if size < 1:
        raise errors.UsageError(f"--size {given} is neither a number of pixels nor native.")
    return size


def _recipe(plan: engines.Plan, preparation: Preparation, weights: Weights) -> dict[str, Any]:
    return {
        "kind": "icehouse",
        **preparation.recipe(),
        "scaling": plan.scaling,
        "backbone": plan.backbone.name,
        "weights": weights.identity,
        "precision": plan.precision,
        "engine": None if plan.precision == "float32" else engines.name_of(engines.choose(plan.engine)),
        "dtype": "float32",
    }
