"""What icehouse tells without computing a vector: of backbones, weights and heads, of data, of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

StrPath = str | Path


def inspect(
    data: StrPath,
    *,
    backbone: str = "inceptionv3",
    intensity: str | None = None,
    resize: str = "stretch",
    size: int | str | None = None,
    root: StrPath | None = None,
    limit: int | None = None,
    labels: StrPath | None = None,
    sheet: StrPath | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Read every file that `extract` would and return what there is, with warnings; nothing is computed.

    Parameters
    ----------
    data, root, limit, labels
        As `extract_features` takes them.
    backbone, intensity, resize, size
        Likewise: what the network will see is drawn.
    sheet : str or Path, optional
        The contact sheet, a PNG; NAME-sheet.png unless told.
    overwrite : bool
        Replace another one.
    progress, note : callable
        Told of files read, and of what goes on.

    Returns
    -------
    dict
        What `icehouse inspect --json` prints.

    Raises
    ------
    SourceError
        If there is nothing there, or a manifest is faulty.
    OutputExists
        If the file named as contact sheet exists.
    """
    from .cache.patient_key import PatientKey
    from .extract import findings, inspection
    from .extract.data import read_data
    from .extract.settings import Settings, preparation_of
    from .report import contact_sheet
    from .report import inspection as texts

    started = time.perf_counter()
    settings = Settings(backbone=backbone, intensity=intensity, resize=resize, size=size)
    preparation = preparation_of(settings)
    source = read_data(data, PatientKey(None), settings.threads(), root=root, limit=limit, labels=labels)
    path = contact_sheet.place(Path(data), Path(sheet) if sheet is not None else None, overwrite=overwrite)
    if path is None:
        note(
            "No contact sheet: one is here already, or nothing can be written here. Give --sheet or "
            "--overwrite."
        )
    looked = inspection.inspect(source, preparation, tiles=path is not None, progress=progress)
    found = {"data": str(data), **findings.findings(source, looked.looks, preparation.size)}
    if path is not None:
        contact_sheet.write(path, looked, str(data), preparation.recipe())
    return {
        **found,
        "warnings": texts.warnings(found),
        "sheet": str(path) if path is not None else None,
        "seconds": round(time.perf_counter() - started, 1),
    }


def diagnose(folder: StrPath = ".", *, note: Callable[[str], None] = lambda _: None) -> list[dict[str, str]]:
    """Return what works on this machine and what does not, with the remedy; `folder` is where caches are."""
    from .extract import doctor

    return [check.as_dict() for check in doctor.diagnose(Path(folder), note)]


def list_backbones() -> list[dict[str, Any]]:
    """Return each backbone's name, input size, vector length d, parameters and where its ImageNet weights are.

    `weights` is the file's path, or None if this machine has none; `wanted` is the file's name.
    """
    from .extract import backbones, weights

    return [
        {
            "name": backbone.name,
            "size": backbone.size,
            "dimensions": backbone.dimensions,
            "parameters": backbone.parameters,
            "weights": str(found) if (found := weights.imagenet_present(backbone)) else None,
            "wanted": Path(backbone.weights_file).name,
        }
        for backbone in backbones.BACKBONES.values()
    ]


def list_weights(*, check: bool = False) -> list[dict[str, Any]]:
    """Return where the ImageNet weights of each backbone are looked for, with their hash, and what is there.

    With `check`, every file that is there is read and its hash compared.
    """
    from .extract import weights

    return [listing.as_dict() for listing in weights.listing(check=check)]


def list_heads() -> list[dict[str, Any]]:
    """Return each head's name, description and parameters with their defaults."""
    from .classify import heads

    return [
        {"name": head.name, "description": head.description, "parameters": heads.defaults(head)}
        for head in heads.HEADS.values()
    ]
