"""What somebody gave in place of a bundle, told by its first bytes, so that the error can say what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import errors

TELLING = 132
"""Bytes of a file's start that tell its kind; DICOM's mark comes last."""

_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in (2, 3, 4, 5))

_FIT = "icehouse fit CACHE -o MODEL.head makes one"


def refusal_of_none(path: Path) -> errors.BundleError:
    """Return what the user is told where there is no file."""
    if (path / "run.json").is_file():
        return errors.BundleError(
            f"{path} is the folder of a run, which holds results and no fitted head: {_FIT}."
        )
    if path.is_dir():
        return errors.BundleError(f"{path} is a folder, and a bundle is one file: {_FIT}.")
    if path.exists():
        return errors.BundleError(f"{path} is no file, and a bundle is one: {_FIT}.")
    return errors.BundleError(f"There is no bundle {path}. icehouse fit CACHE -o {path} makes one.")


def refusal(path: Path, start: bytes) -> errors.BundleDamaged:
    """Return what the user is told of a file that does not begin as a zip does.

    Parameters
    ----------
    path : Path
    start : bytes
        The first `TELLING` bytes.
    """
    if not start:
        what = f"is empty, and no bundle: {_FIT}"
    elif start.startswith(b"\x89HDF\r\n\x1a\n"):
        what = f"is an HDF5 file, no bundle: if it is a cache, icehouse fit {path} -o MODEL.head makes one"
    elif start.startswith(_IMAGES) or start[128:132] == b"DICM":
        what = "is an image, and no bundle: icehouse predict takes the bundle first, then the images"
    elif start.startswith(_PICKLES):
        what = f"is a Python pickle, which may run code and is never loaded: {_FIT}"
    elif start.startswith(b"\x1f\x8b"):
        what = "is compressed by gzip, and no bundle: unpack it first"
    else:
        what = f"is no bundle, or has lost its beginning: {_FIT}"
    return errors.BundleDamaged(f"{path} {what}.")


def refusal_of_zip(path: Path, names: Sequence[str]) -> errors.BundleDamaged:
    """Return what the user is told of a zip with these members, none of which is a bundle's document."""
    if "model.weights.h5" in names:
        what = "a Keras model, and no bundle: icehouse extract --backbone model:PATH takes networks"
    elif names and all(name.endswith(".npy") for name in names):
        what = "an .npz file of arrays, and no bundle: icehouse cache import makes a cache of vectors"
    else:
        what = f"a zip archive without bundle.json, so no bundle: {_FIT}"
    return errors.BundleDamaged(f"{path} is {what}.")
