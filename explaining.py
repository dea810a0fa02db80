"""Where a head looks in new images: each is run through the network once, and the head asked about its places.

What users call is in `fitted`; what places are worth is computed in `explain`, and drawn in `report`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import errors
from .bundle import images
from .bundle.bundle import Bundle
from .explain import heat
from .explain.grad_cam import grad_cam
from .explain.occlusion import above_others, occlusions
from .extract.layers import LAYER
from .report.explanation import Explanation
from .report.heat_files import HeatFiles
from .report.overlay import METHODS
from .report.tables import DISCLAIMER

if TYPE_CHECKING:
    from .extract.settings import Setup
    from .extract.sources import Source
    from .extract.streaming import Frames, Streamed
    from .extract.summary import Progress

StrPath = str | Path
Told = Callable[[int, int, str], None]
"""Is told of progress: how much is done, of how much, and a few words more."""


class Explained(NamedTuple):
    """What became of the samples that were to be explained.

    Parameters
    ----------
    source : Source
    streamed : Streamed
        With what became of each sample of the source.
    notes : list of str
    """

    source: Source
    streamed: Streamed
    notes: list[str]


def maps_of(
    source: Source,
    setup: Setup,
    take: Callable[[Frames], None],
    *,
    held: Sequence[tuple[str, Mapping[str, NDArray[np.float32]]]] = (),
    accept_drift: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Streamed:
    """Hand on the feature maps and pixels of every frame of a source; they are never held together.

    Parameters
    ----------
    source : Source
    setup : Setup
        As `extract.matching.setup_for` returns it for the layer `avg_pool`.
    take : callable
        Called with `Frames` in batches, their `maps`, `pixels` and `sample` among them.
    held, accept_drift, progress
        See `extract.streaming.stream`.

    Raises
    ------
    RecipeMismatch
        If the network's vectors are not the means of its maps.
    CanaryDrift, Interrupted
    """
    from .extract.maps import check_means
    from .extract.streaming import stream

    def checked(frames: Frames) -> None:
        assert frames.maps is not None
        check_means(frames.maps, frames.vectors[LAYER])
        take(frames)

    return stream(
        source,
        setup,
        checked,
        layers=[LAYER],
        held=held,
        with_maps=True,
        accept_drift=accept_drift,
        progress=progress,
    )


def explain_images(
    bundle: Bundle,
    paths: Sequence[StrPath],
    choices: images.Choices,
    take: Callable[[int, Explanation], None],
    *,
    method: str = "occlusion",
    target: str | None = None,
    begin: Callable[[Source], None] = lambda _: None,
    progress: Told = lambda done, total, words: None,
    note: Callable[[str], None] = lambda _: None,
) -> Explained:
    """Hand on where a head looks in each frame of images, each frame of each distinct file once.

    Parameters
    ----------
    bundle : Bundle
        Fitted on the layer `avg_pool`.
    paths : sequence of str or Path
    choices : images.Choices
    take : callable
        Called with the number of the sample and its `Explanation`, in the order of the samples but for those of
        native size. What was handed on of a volume of which a later frame failed means nothing.
    method : {"occlusion", "grad-cam"}
    target : str, optional
        The class that is explained; the one that is predicted for each picture unless told.
    begin : callable
        Called with the source before anything is computed.
    progress, note : callable

    Raises
    ------
    UsageError
        If there is no such class or method, or the head has no gradient and Grad-CAM is asked for.
    BundleError
        If the bundle is of other layers, or has no mean map and occlusion is asked for.
    IcehouseError
        As `scoring.score_images` raises it.
    """
    from .report.progress import extraction_words

    asking = _Asking(bundle, method, target)
    opened = images.images_for(bundle, paths, choices, note)
    source = opened.source
    begin(source)

    def explained(frames: Frames) -> None:
        for number, explanation in asking.of(frames, source):
            take(number, explanation)

    streamed = maps_of(
        source,
        opened.setup,
        explained,
        held=opened.held,
        accept_drift=choices.accept_drift,
        progress=lambda now: progress(now.done, now.total, extraction_words(now)),
    )
    notes = images.drift_notes(bundle, streamed.drifted, canaries=bool(bundle.canaries))
    return Explained(source, streamed, notes)


class _Asking:
    """Asks a head about the places of pictures."""

    def __init__(self, bundle: Bundle, method: str, target: str | None) -> None:
        if method not in METHODS:
            raise errors.UsageError(f"There is no method {method!r}; there are {', '.join(METHODS)}.")
        if target is not None and target not in bundle.classes:
            raise errors.UsageError(
                f"{bundle.path} has no class {target!r}; its classes are {', '.join(bundle.classes)}."
            )
        if bundle.layers != (LAYER,):
            raise errors.BundleError(
                f"{bundle.path} was fitted on {', '.join(bundle.layers)}, and only vectors of {LAYER} are "
                "means of the places of a picture. Fit one on them: icehouse fit CACHE --layer avg_pool."
            )
        self._bundle, self._method = bundle, method
        self._target = None if target is None else bundle.classes.index(target)
        self._mean = None
        if method == "occlusion":
            if not bundle.contents.has_array("maps/mean"):
                raise errors.BundleError(
                    f"{bundle.path} has no mean map to put in a place's stead: the vectors that it was fitted "
                    "on were imported, split off or repaired, or their pictures kept their own sizes. Use "
                    "--method grad-cam, or fit a head on a cache that icehouse extract made."
                )
            self._mean = bundle.contents.array("maps/mean", (None, None, None))
        else:
            bundle.gradients(np.zeros((1, sum(bundle.widths))), 0)  # those that have none say so now

    def of(self, frames: Frames, source: Source) -> Iterator[tuple[int, Explanation]]:
        """Yield the sample and the explanation of each frame."""
        bundle, maps, pixels = self._bundle, frames.maps, frames.pixels
        assert maps is not None
        assert pixels is not None
        assert frames.sample is not None
        assert frames.of_frames is not None
        if self._mean is not None and self._mean.shape != maps.shape[1:]:
            raise errors.RecipeMismatch(
                f"The mean map of {bundle.path} has the shape {self._mean.shape}, and the maps here have "
                f"{maps.shape[1:]}: it is damaged, or this is another network."
            )
        X = images.joined(bundle, frames.vectors)
        probabilities, ood = bundle.scores(X)
        predicted = bundle.decide(probabilities)
        targets = predicted if self._target is None else np.full(len(X), self._target)
        weights = self._weights(maps, frames.mirrored, X, targets)
        margins = bundle.margins(X)
        seen = np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)
        for number, index in enumerate(frames.sample.tolist()):
            target, sample = int(targets[number]), source.samples[index]
            map_of = heat.enlarged(weights[number], *seen.shape[1:3])
            yield (
                index,
                Explanation(
                    path=sample.path,
                    content=frames.content[number],
                    frame=int(frames.frame[number]),
                    frames=int(frames.of_frames[number]),
                    label=sample.label,
                    probabilities=dict(zip(bundle.classes, probabilities[number].tolist(), strict=True)),
                    predicted=bundle.classes[predicted[number]],
                    explained=bundle.classes[target],
                    score=float(above_others(margins[number : number + 1], target)[0]),
                    ood=None if ood is None else float(ood[number]),
                    method=self._method,
                    bundle=bundle.path.name,
                    pixels=seen[number],
                    weights=weights[number],
                    heat=map_of,
                    peak=heat.peak(weights[number]) if map_of.max() > 0 else None,
                ),
            )

    def _weights(
        self,
        maps: NDArray[np.float32],
        mirrored: NDArray[np.float32] | None,
        X: NDArray[np.floating[Any]],
        targets: NDArray[np.int64],
    ) -> list[NDArray[np.float32]]:
        if self._mean is not None:
            return [*occlusions(maps, self._mean, self._bundle.margins, targets.tolist(), mirrored)]
        gradients = np.empty(X.shape)
        for target in np.unique(targets).tolist():
            gradients[targets == target] = self._bundle.gradients(X[targets == target], target)
        return [grad_cam(one, gradient) for one, gradient in zip(maps, gradients, strict=True)]


def explain(
    bundle: Bundle,
    paths: Sequence[StrPath],
    choices: images.Choices,
    files: HeatFiles | None = None,
    *,
    method: str = "occlusion",
    target: str | None = None,
    take: Callable[[Explanation], None] = lambda _: None,
    progress: Told = lambda done, total, words: None,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Explain images, and draw them into files if there are any.

    Parameters
    ----------
    bundle, paths, choices, method, target, progress, note
        See `explain_images`.
    files : HeatFiles, optional
    take : callable
        Called with each `Explanation`, its pixels among it, as they come.

    Returns
    -------
    dict
        What `icehouse explain --json` prints: "explanations" has an entry for each sample's frame, in the order
        of the samples, "failures" one for each sample that failed.

    Raises
    ------
    OutputExists, DiskFull, CacheError
        If a picture cannot be written.
    IcehouseError
        As `explain_images` raises it.
    """
    started = time.perf_counter()
    entries: dict[tuple[bytes, int], dict[str, Any]] = {}

    def taken(sample: int, one: Explanation) -> None:
        entries[one.content, one.frame] = one.entry()
        if files is not None:
            files.add(sample, one)
        take(one)

    def begin(source: Source) -> None:
        if files is not None:
            files.begin([sample.path for sample in source.samples])

    try:
        found = explain_images(
            bundle,
            paths,
            choices,
            taken,
            method=method,
            target=target,
            begin=begin,
            progress=progress,
            note=note,
        )
    except errors.Interrupted:
        if files is None or not files.written:
            raise
        raise errors.Interrupted(
            f"Interrupted: {files.written} pictures were written to {files.place}, and each of them is whole."
        ) from None
    order = [
        (sample, (looked.content, frame))
        for sample, looked in zip(found.source.samples, found.streamed.samples, strict=True)
        if looked.failure is None and looked.content is not None
        for frame in looked.chosen
        if (looked.content, frame) in entries
    ]
    pictures: Mapping[tuple[bytes, int], Path] = {}
    notes = list(found.notes)
    if files is not None and order:
        title = f"{bundle.path.name}: what speaks for {'the predicted class' if target is None else target}"
        pictures = files.finish((key for _, key in order), f"{title}, {method}")
        if left := files.not_on_sheets:
            notes.append(f"The contact sheets show the first pictures only, and not {left} more.")
    rows = [
        {
            **entries[key],
            "path": sample.path,
            "label": sample.label,
            "picture": str(pictures[key]) if key in pictures else None,
        }
        for sample, key in order
    ]
    looks = list(zip(found.source.samples, found.streamed.samples, strict=True))
    for text in notes:
        note(text)
    return {
        "bundle": str(bundle.path),
        "method": method,
        "class": target,
        "classes": list(bundle.classes),
        "samples": len(looks),
        "failed": sum(looked.failure is not None for _, looked in looks),
        "not_selected": sum(not looked.selected for _, looked in looks),
        "predicted": dict(Counter(row["predicted"] for row in rows)),
        "out": str(files.place) if files is not None and pictures else None,
        "sheets": [str(path) for path in files.sheets] if files is not None else [],
        "seconds": round(time.perf_counter() - started, 3),
        "explanations": rows,
        "failures": [
            {"path": sample.path, "reason": f"{looked.failure.stage}: {looked.failure.reason}"}
            for sample, looked in looks
            if looked.failure is not None
        ],
        "notes": notes,
        "disclaimer": DISCLAIMER,
    }
