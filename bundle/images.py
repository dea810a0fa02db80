"""New images for a bundle: found, prepared by its own recipe, run through its network.

What is asked of the head about them is its callers' affair: `scoring` and `explaining`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache import drift
from ..cache.opening import is_cache
from .bundle import Bundle

if TYPE_CHECKING:
    from ..extract.settings import Setup
    from ..extract.sources import Source

StrPath = str | Path


@dataclass(frozen=True)
class Choices:
    """What the user may choose of how images are computed.

    Parameters
    ----------
    frames : str, optional
        Which frames of volumes and series are taken; by the rule of the training images unless told.
    weights : str, optional
        The file of the backbone's weights, where it is not found by itself.
    engine : str
    trust_model : bool
    batch_size, workers : int, optional
    root, labels : str or Path, optional
        See `extract_features`.
    accept_drift : bool
    key_folder : str or Path, optional
        Where the key of DICOM patients' pseudonyms is made, where the bundle's is not found.
    key_folders : tuple of Path
        Where the bundle's key may lie.
    """

    frames: str | None = None
    weights: str | None = None
    engine: str = "auto"
    trust_model: bool = False
    batch_size: int | None = None
    workers: int | None = None
    root: StrPath | None = None
    labels: StrPath | None = None
    accept_drift: bool = False
    key_folder: StrPath | None = None
    key_folders: tuple[Path, ...] = ()


class Images(NamedTuple):
    """Images that a bundle is applied to.

    Parameters
    ----------
    source : Source
    setup : Setup
        That of the bundle's recipe.
    held : list of (str, dict)
        Where vectors are held that these must fit, and the canaries' vectors that came with them.
    """

    source: Source
    setup: Setup
    held: list[tuple[str, dict[str, NDArray[np.float32]]]]


def images_for(
    bundle: Bundle, images: Sequence[StrPath], choices: Choices, note: Callable[[str], None]
) -> Images:
    """Return images as a bundle's recipe wants them; nothing is computed yet.

    Parameters
    ----------
    bundle : Bundle
    images : sequence of str or Path
        A folder, a CSV manifest, or files and folders.
    choices : Choices
    note : callable
        Told what should be known of them, such as files passed over.

    Raises
    ------
    SourceError
        If there are no such images.
    BundleError
        If the bundle's vectors were not made by icehouse, so that nobody knows how to make more.
    RecipeMismatch
        If this icehouse cannot follow the recipe, naming the field.
    WeightsError
        If the backbone's weights are not to be had.
    """
    from ..cache.patient_key import PatientKey
    from ..extract import data, matching

    for path in images:
        if is_cache(Path(path)):
            raise errors.UsageError(f"{path} is a cache, which holds no images: name the images that it is of.")
    setup = matching.setup_for(
        bundle.recipe,
        bundle.layers,
        choices.frames or bundle.frames,
        where=str(bundle.path),
        weights=choices.weights,
        engine=choices.engine,
        batch_size=choices.batch_size,
        workers=choices.workers,
        trust_model=choices.trust_model,
    )
    key = bundle.training.key(choices.key_folders) or PatientKey(
        None if choices.key_folder is None else Path(choices.key_folder)
    )
    source = data.read_data(
        images,
        key,
        setup.settings.threads(),
        root=choices.root,
        mixed=True,
        labels=choices.labels,
    )
    for text in data.notes(source, choices.labels):
        note(text)
    return Images(source, setup, [(str(bundle.path), bundle.canaries)] if bundle.canaries else [])


def joined(bundle: Bundle, vectors: Mapping[str, NDArray[np.floating[Any]]]) -> NDArray[np.floating[Any]]:
    """Return the rows that a bundle takes, shape (k, d), of the vectors of each layer, shape (k, d_layer).

    Raises
    ------
    RecipeMismatch
        If they are of other lengths than it takes.
    """
    layers = [vectors[layer] for layer in bundle.layers]
    widths = tuple(values.shape[1] for values in layers)
    if widths != bundle.widths:
        raise errors.RecipeMismatch(
            f"{bundle.path} takes vectors of {bundle.widths} numbers, and these have {widths}: it is damaged, "
            "or this is another network."
        )
    return layers[0] if len(layers) == 1 else np.concatenate(layers, axis=1)


def drift_notes(bundle: Bundle, drifted: float, *, canaries: bool) -> list[str]:
    """Say what of drift was let pass, or could not be looked at.

    Parameters
    ----------
    bundle : Bundle
    drifted : float
        How far the vectors are from those that it was trained on.
    canaries : bool
        Whether that could be told.
    """
    if drifted > drift.TOLERANCE:
        return [f"Accepted drift: the vectors are {drifted:.1e} away from those {bundle.path} was trained on."]
    if not canaries:
        return [
            f"Whether the network has drifted since {bundle.path} was trained cannot be known: canaries are "
            "missing."
        ]
    return []
