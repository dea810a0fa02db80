"""The demonstration: the whole way on synthetic images, with what the command line and Python offer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import api, errors

if TYPE_CHECKING:
    from .extract.summary import Progress


def demo(
    folder: str | Path,
    *,
    drawing: Callable[[int, int], None] = lambda done, total: None,
    extracting: Callable[[Progress], None] = lambda _: None,
    judging: Callable[[int, int], None] = lambda done, total: None,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Make synthetic chest X-rays and go the whole way with them: extract, then ten rounds of three heads.

    Parameters
    ----------
    folder : str or Path
        Made anew; it gets the images of two scanners, a cache for each, and the run.
    drawing, extracting, judging, note : callable
        Told of the progress of each part.

    Returns
    -------
    dict
        `run` (a `Run`), and the paths of `images`, `external_images`, `features` and `external_features`.

    Raises
    ------
    OutputExists
        If the folder exists and is not empty.
    """
    from .extract import backbones, engines, phantoms, weights

    engines.check_installed()
    weights.resolve("imagenet", backbones.find("efficientnetlite0"))
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise errors.OutputExists(f"{target} exists already. Give another folder: icehouse demo DIR")
    note("Drawing 256 synthetic chest X-rays, half of them with a lesion, and 51 of another scanner")
    home = phantoms.write_data_set(
        target / "images", phantoms.HOME, 128, 128, seed=1, progress=lambda done: drawing(done, 307)
    )
    away = phantoms.write_data_set(
        target / "external", phantoms.ELSEWHERE, 25, 26, seed=2, progress=lambda done: drawing(256 + done, 307)
    )
    paths = {"images": home, "external_images": away}
    for name, manifest in (("features", home), ("external_features", away)):
        paths[name] = target / f"{name}.h5"
        note(f"icehouse extract {manifest} -o {paths[name]} --backbone efficientnetlite0")
        api.extract(manifest, paths[name], backbone="efficientnetlite0", progress=extracting)
    note(f"icehouse classify {paths['features']} -o {target / 'run'}")
    run = api.run_rounds(paths["features"], out=target / "run", progress=judging)
    return {"run": run, **paths}
