"""Pictures of a run's images: those that heads are sure and unsure of, with maps of where they look.

A head's heat map comes of the head as it was in one of the rounds that tested the image: it is fitted again on
that round's training part, and the image runs through the network once more. Where that cannot be, the reason
is said, and the images are shown without.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import errors, finding
from .cache import drift
from .cache.store import Cache
from .classify import refitting
from .classify.cached import further_of, is_of, rows_of, vectors_of
from .classify.fitting import Ready
from .classify.groups import tied
from .classify.heads import Spec
from .classify.runs import Record
from .extract.layers import LAYER
from .extract.maps import Seen
from .finding import Found, Told, silent
from .report import examples as choosing
from .report import thumbnails as small
from .report.examples import Example, Shown
from .report.judged import Judged
from .report.parts import Section

PIXELS = 168
"""Height and width of a picture in a gallery."""
_MOST_SECONDS = 120.0
"""What fitting one head again may take; it is known from the run."""
_GAP = 4
_NOT_ASKED = "Heat maps were left out, as was asked for."


def example_sections(
    judged: Judged,
    cache: Cache | None,
    found: Found | None,
    *,
    maps: bool = True,
    weights: str | None = None,
    engine: str = "auto",
    progress: Told = silent,
) -> list[Section]:
    """Return the images that each head of a run is surest and least sure of, and those most often wrong.

    Parameters
    ----------
    judged : Judged
    cache : Cache or None
        That of the run; without it images are named and not shown.
    found : Found or None
        Where its images are.
    maps : bool
        Whether to compute heat maps, which takes the network; without, no framework is loaded.
    weights : str, optional
        The file of the backbone's weights, where it is not found by itself.
    engine : str
    progress : callable

    Returns
    -------
    list of Section
        "Images, right and wrong" and "Most often wrong".

    """
    run = judged.stored
    truth = choosing.truths(run)
    verdicts = {
        head: choosing.verdict(records, truth) for head, records in judged.records.items() if len(records)
    }
    group = tied(run.patient, run.content)
    chosen = {head: choosing.examples(said, truth, group) for head, said in verdicts.items()}
    wanted = np.unique([example.row for of_head in chosen.values() for example in of_head]).astype(np.intp)
    if cache is None:
        notes = ["The run's cache is not there, so that its images are named and not shown."]
        first = choosing.examples_section(judged, verdicts, chosen, {}, {}, notes, {})
        return [first, choosing.wrong_section(judged, verdicts, truth)]
    of_cache = rows_of(cache, run.content, run.frame)
    held = np.flatnonzero(of_cache >= 0)
    names = dict(zip(held.tolist(), finding.names(cache, of_cache[held]), strict=True))
    pictures, failed = finding.pictures(cache, found, of_cache[wanted], PIXELS, progress)
    tiles = dict(zip(wanted.tolist(), pictures, strict=True))
    heat = _Heat({}, {}, _NOT_ASKED)
    if maps:
        heat = _heat(judged, cache, found, chosen, of_cache, (weights, engine), progress)
    shown = {
        (head, example.row): heat.shown.get((head, example.row)) or Shown(small.webp(tiles[example.row]))
        for head, of_head in chosen.items()
        for example in of_head
    }
    notes = [heat.about, *finding.remarks(found, failed)]
    first = choosing.examples_section(judged, verdicts, chosen, names, shown, notes, heat.notes)
    return [first, choosing.wrong_section(judged, verdicts, truth, names)]


def _other(cache: Cache, judged: Judged) -> str:
    return f"{cache.path} does not hold the vectors that {judged.name} was made of."


class _Heat(NamedTuple):
    """Heat maps: pictures by head and row, what is to be said of single heads, and of all of them."""

    shown: dict[tuple[str, int], Shown]
    notes: dict[str, str]
    about: str


def _heat(
    judged: Judged,
    cache: Cache,
    found: Found | None,
    chosen: Mapping[str, Sequence[Example]],
    of_cache: NDArray[np.intp],
    network: tuple[str | None, str],
    progress: Told,
) -> _Heat:
    """Return the heat maps of examples, as far as they can be had."""
    mean = cache.mean_map()
    if why := _impossible(judged, cache, found, of_cache):
        return _Heat({}, {}, f"There are no heat maps. {why}")
    assert found is not None
    assert mean is not None
    heat = _Heat({}, {}, _about(mean[1]))
    rounds = [
        round_ for head, of_head in chosen.items() for round_ in _rounds(judged, head, of_head, heat.notes)
    ]
    if not rounds:
        return heat._replace(about="There are no heat maps.")
    rows = np.unique([example.row for round_ in rounds for example in round_.examples])
    try:
        seen = _seen(cache, found, rows, of_cache[rows], network, progress)
    except errors.IcehouseError as error:
        return _Heat({}, {}, f"There are no heat maps. {error}")
    run = judged.stored
    problem = refitting.problem_of(
        run,
        vectors_of(cache, (LAYER,), of_cache),
        further_of(cache, LAYER, of_cache, int(run.plan["views"])),
    )
    protocol = refitting.protocol_of(run.plan)
    of_split: defaultdict[int, list[_Round]] = defaultdict(list)
    for round_ in rounds:
        of_split[round_.record.split].append(round_)
    done = 0
    for split, of_one in sorted(of_split.items()):
        ready = Ready(problem, run.splits, split, protocol)
        for round_ in of_one:
            progress(done, len(rounds), "heat maps")
            done += 1
            try:
                _of_round(ready, judged, round_, seen, mean[0], heat)
            except errors.IcehouseError as error:
                heat.notes[round_.head] = f"Not every picture of {round_.head} has a heat map. {error}"
    progress(done, done, "heat maps")
    return heat


def _impossible(judged: Judged, cache: Cache, found: Found | None, of_cache: NDArray[np.intp]) -> str:
    """Say why there can be no heat maps at all, and what to do about it; nothing if there can."""
    layer = judged.stored.plan["layer"]
    if not found:
        return "They need the images themselves."
    if not is_of(cache, judged.stored) or np.any(of_cache < 0):
        return f"{_other(cache, judged)} Repeat the run on it."
    if cache.header.recipe.get("kind") != "icehouse":
        return "The vectors were not computed by icehouse, so that nobody knows the network."
    if layer != LAYER:
        return f"They are of the layer {LAYER}, and the run is of {layer}."
    if cache.header.views < judged.stored.plan["views"]:
        return f"The run was of {judged.stored.plan['views']} views, and {cache.path.name} holds fewer by now."
    if cache.mean_map() is None:
        return f"{cache.path.name} holds no mean map, as where images keep their own size. Extract with a size."
    return ""


class _Round(NamedTuple):
    """A round of a head that is to be fitted again, and the examples that are explained by it."""

    head: str
    spec: Spec
    record: Record
    examples: list[Example]


def _rounds(judged: Judged, head: str, examples: Sequence[Example], notes: dict[str, str]) -> Iterator[_Round]:
    """Yield the rounds that explain a head's examples; where it cannot be, the reason is noted."""
    records = judged.records[head]
    try:
        spec = refitting.check_head(judged.stored, head)
    except errors.UsageError as error:
        notes[head] = f"There are no heat maps. {error}"
        return
    rounds = refitting.rounds_for(records, [example.row for example in examples])
    seconds = len(rounds) * max(record.seconds for record in records)
    if seconds > _MOST_SECONDS:
        notes[head] = (
            f"There are no heat maps: to fit {head} again would take about {seconds / 60:.0f} minutes."
        )
        return
    for record, rows in rounds:
        yield _Round(head, spec, record, [example for example in examples if example.row in rows])


def _of_round(
    ready: Ready,
    judged: Judged,
    round_: _Round,
    seen: Mapping[int, Seen],
    mean: NDArray[np.float32],
    heat: _Heat,
) -> None:
    """Add the heat maps of one round of a head."""
    from .bundle import portable
    from .explain.heat import enlarged, peak
    from .explain.occlusion import occlusion

    rows = np.array([example.row for example in round_.examples], dtype=np.intp)
    refitted = refitting.refit(ready, round_.spec, round_.record, np.unique(rows))
    scorer = portable.scorer_of(round_.spec, refitted.estimator)
    number = judged.document["round_names"][round_.record.number]
    if refitted.apart > refitting.SAME:
        text = (
            f"Fitted again on round {number}, {round_.head} answers otherwise than in the run, by "
            f"{refitted.apart:.1g}: the heat maps of that round are of a head that is not quite the same."
        )
        heat.notes[round_.head] = " ".join(filter(None, [heat.notes.get(round_.head), text]))

    def margins(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        return scorer.margins(ready.prepared.transform(np.array(vectors, dtype=np.float64)))

    for example in round_.examples:
        if (one := seen.get(example.row)) is None:  # gone since it was extracted
            continue
        weights = occlusion(one.maps, mean, margins, example.predicted, one.mirrored)
        name = judged.document["classes"][example.predicted]
        warmth = enlarged(weights, PIXELS, PIXELS)
        speaks = bool(warmth.max() > 0)
        nothing = "" if speaks else f", where no place speaks for {name}"
        words = f"heat map for {name}, head of round {number}{nothing}"
        picture = _beside(one.pixels, warmth, peak(weights) if speaks else None)
        heat.shown[round_.head, example.row] = Shown(picture, words)


def _beside(
    pixels: NDArray[np.float32], warmth: NDArray[np.float32], peak: tuple[float, float] | None
) -> bytes:
    """Return a picture, and to its right the same under its heat map."""
    from PIL import Image

    from .report.overlay import bare_overlay

    seen = np.rint(pixels).clip(0, 255).astype(np.uint8)
    plain = Image.fromarray(seen).resize((PIXELS, PIXELS))
    with Image.open(io.BytesIO(bare_overlay(seen, warmth, PIXELS, peak))) as overlay:
        both = Image.new("RGB", (2 * PIXELS + _GAP, PIXELS), "white")
        both.paste(plain, (0, 0))
        both.paste(overlay, (PIXELS + _GAP, 0))
    return small.webp(np.asarray(both))


def _seen(
    cache: Cache,
    found: Found,
    rows: NDArray[np.intp],
    of_cache: NDArray[np.intp],
    network: tuple[str | None, str],
    progress: Told,
) -> dict[int, Seen]:
    """Return what the network makes of some rows of a run, those in the cache given; none of images gone.

    Raises
    ------
    IcehouseError
        If the network is not to be had here, or is another one than that of the cache.
    """
    from .extract import maps, matching

    weights, engine = network
    setup = matching.setup_for(
        cache.header.recipe, (LAYER,), "all", where=cache.path.name, weights=weights, engine=engine
    )
    frames = {
        row: (partial(found.read, int(cache.sample_of_row[line])), int(cache.frame_of_row[line]))
        for row, line in zip(rows.tolist(), of_cache.tolist(), strict=True)
    }
    held = dict(zip(rows.tolist(), vectors_of(cache, (LAYER,), of_cache), strict=True))
    seen: dict[int, Seen] = {}
    progress(0, len(frames), "feature maps")
    for row, one in maps.look(setup, frames):
        apart = drift.distance({LAYER: one.vector[np.newaxis]}, {LAYER: held[row][np.newaxis]})
        if apart > drift.TOLERANCE:
            raise errors.CanaryDrift(
                f"The network computes other vectors here than {cache.path.name} holds, {apart:.1e} away: a "
                "library, a driver or the weights changed. Extract anew where reports are made."
            )
        seen[row] = one
        progress(len(seen), len(frames), "feature maps")
    return seen


def _about(count: int) -> str:
    return (
        "Heat maps show what speaks for the predicted class: what each place adds to its margin above the "
        f"other classes, compared with how that place looks on average in the {count:,} frames of the cache "
        "(with the one tested). A ring marks where most of it is. Each is of the head as it was in one round, "
        "which did not train on the image."
    )
