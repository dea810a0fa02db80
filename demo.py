"""The demonstration: the whole way on synthetic images, with what the command line and Python offer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import api, errors, fitted, judging

if TYPE_CHECKING:
    from .extract.summary import Progress


BACKBONE = "efficientnetlite0"
"""The one whose weights are installed with icehouse."""

HEAD = "mlp"
"""The one that is kept and applied to the other scanner's images."""

EXPLAINED = 8
"""Images of the other scanner of which is shown where the head looks."""

CT_PATIENTS = 10
"""Sequences of each class in the demonstration on CT."""


def demo(
    folder: str | Path,
    *,
    ct: bool = False,
    drawing: Callable[[int, int], None] = lambda done, total: None,
    extracting: Callable[[Progress], None] = lambda _: None,
    classifying: Callable[[int, int], None] = lambda done, total: None,
    showing: Callable[[int, int, str], None] = lambda done, total, words: None,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Make synthetic chest X-rays and go the whole way with them, from extraction to external evaluation.

    Extract, ten rounds of three heads, a report, one head fitted on everything, its answers to another
    scanner's images, and where it looks.

    Parameters
    ----------
    folder : str or Path
        Made anew; it gets the images of two scanners, a cache for each, the run and its report, the bundle, its
        predictions and explanations.
    ct : bool
        Make CT sequences in place of the X-rays, of which the slices with open lungs are taken; one scanner.
    drawing, extracting, classifying, showing, note : callable
        Told of the progress of each part.

    Returns
    -------
    dict
        `run` (a `Run`), and the paths of `images`, `features` and, if what it needs is installed, `report`; for
        X-rays also `external_images`, `external_features`, `bundle`, `predictions`, `explanations`, and
        `evaluation`, which is a document.

    Raises
    ------
    OutputExists
        If the folder exists and is not empty.
    """
    from .extract import backbones, engines, weights

    engines.check_installed()
    weights.resolve("imagenet", backbones.find(BACKBONE))
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise errors.OutputExists(f"{target} exists already. Give another folder: icehouse demo DIR")
    paths = _draw_sequences(target, drawing, note) if ct else _draw_radiographs(target, drawing, note)
    frames = "open-lung" if ct else "all"
    options = f" --frames {frames}" if ct else ""
    for name in [name for name in paths if name.endswith("images")]:
        cache = target / f"{name.replace('images', 'features')}.h5"
        note(f"icehouse extract {paths[name]} -o {cache} --backbone {BACKBONE}{options}")
        api.extract(paths[name], cache, backbone=BACKBONE, frames=frames, progress=extracting)
        paths[cache.stem] = cache
    note(f"icehouse classify {paths['features']} -o {target / 'run'}")
    run = judging.run_rounds(paths["features"], out=target / "run", progress=classifying, note=note)
    report = target / "report.html"
    note(f"icehouse report {target / 'run'} -o {report}")
    try:
        paths["report"] = run.report(report, images=paths["images"], progress=showing, note=note)
    except errors.MissingDependency as error:  # all else goes without it
        note(f"{report} was not written. {error}")
    return {"run": run, **paths} if ct else {"run": run, **paths, **_used(target, paths, showing, note)}


def _used(
    target: Path,
    paths: dict[str, Path],
    showing: Callable[[int, int, str], None],
    note: Callable[[str], None],
) -> dict[str, Any]:
    """Fit a head, keep it, apply it to the other scanner's images, and look where it looks."""
    bundle, predictions = target / f"{HEAD}.head", target / "predictions.csv"
    note(f"icehouse fit {paths['features']} --head {HEAD} --from-run {target / 'run'} -o {bundle}")
    fitted.fit_head(paths["features"], HEAD, from_run=target / "run", out=bundle, note=lambda _: None)
    head = fitted.load_head(bundle)
    note(f"icehouse predict {bundle} {paths['external_images']} -o {predictions}")
    head.predict(paths["external_images"], note=note).write(predictions)
    note(f"icehouse evaluate {bundle} {paths['external_features']}")
    evaluation = head.evaluate(paths["external_features"], note=note)
    diseased = sorted((paths["external_images"].parent / "images").glob("diseased-*.png"))[:EXPLAINED]
    heat = target / "heat"
    note(f"icehouse explain {bundle} {diseased[0].parent}/diseased-*.png -o {heat}    (the first {EXPLAINED})")
    head.explain(diseased, out=heat, progress=showing, note=note)
    return {"bundle": bundle, "predictions": predictions, "evaluation": evaluation, "explanations": heat}


def _draw_radiographs(
    target: Path, drawing: Callable[[int, int], None], note: Callable[[str], None]
) -> dict[str, Path]:
    """Draw the X-rays of two scanners and return their manifests."""
    from .extract import phantoms

    note("Drawing 256 synthetic chest X-rays, half of them with a lesion, and 51 of another scanner")
    home = phantoms.write_data_set(
        target / "images", phantoms.HOME, 128, 128, seed=1, progress=lambda done: drawing(done, 307)
    )
    away = phantoms.write_data_set(
        target / "external", phantoms.ELSEWHERE, 25, 26, seed=2, progress=lambda done: drawing(256 + done, 307)
    )
    return {"images": home, "external_images": away}


def _draw_sequences(
    target: Path, drawing: Callable[[int, int], None], note: Callable[[str], None]
) -> dict[str, Path]:
    """Draw CT sequences of two classes and return their manifest."""
    from .extract import ct_phantoms

    total = 2 * CT_PATIENTS * ct_phantoms.SLICES
    note(f"Drawing {2 * CT_PATIENTS} synthetic chest CT sequences, half of them with opacities")
    manifest = ct_phantoms.write_sequences(
        target / "images", CT_PATIENTS, CT_PATIENTS, seed=1, progress=lambda done: drawing(done, total)
    )
    return {"images": manifest}
