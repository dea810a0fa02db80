"""Pages out of what was found: of a run, of several side by side, of a cache, of an audit.

It finds what a run was made of (its cache, its images) as far as that is still there, says what is not, and
puts sections in their order. What they show is made in `report` and `gallery`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from . import errors, finding, gallery, mapping
from .cache.info import describe
from .cache.opening import is_cache
from .cache.store import Cache
from .classify import comparison as comparing
from .classify.stored import read_run
from .report import (
    audit,
    calibration,
    confusion,
    contents,
    curves,
    outcome,
    page,
    plates,
    repeating,
    training_curves,
    verdicts,
)
from .report.judged import Judged
from .report.parts import Columns, Figure, Folded, Page, Part, Section, Words

StrPath = str | Path
Told = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Choices:
    """What the user may choose of a page.

    Parameters
    ----------
    images : str or Path, optional
        Where the images are, if not near the cache.
    maps : bool
        Whether to compute where heads look.
    weights : str, optional
        The file of the backbone's weights for that, where it is not found by itself.
    figures : str or Path, optional
        A folder for each figure as a file.
    metric : str, optional
        What several runs are compared by; that of the first one unless told.
    overwrite : bool
        Replace a page, and figures, of the same name.
    """

    images: StrPath | None = None
    maps: bool = True
    weights: str | None = None
    figures: StrPath | None = None
    metric: str | None = None
    overwrite: bool = False


class Written(NamedTuple):
    """What was written, and what should be known of it."""

    page: Path
    figures: list[Path]

    def as_dict(self) -> dict[str, Any]:
        return {
            "report": str(self.page),
            "bytes": self.page.stat().st_size,
            "figures": [path.name for path in self.figures],
            "folder": str(self.figures[0].parent) if self.figures else None,
        }


def report(
    shown: Sequence[StrPath],
    out: StrPath,
    choices: Choices,
    progress: Told = lambda done, total, words: None,
    note: Callable[[str], None] = lambda _: None,
) -> Written:
    """Write the page of one run folder, of several side by side, or of one cache.

    Raises
    ------
    MissingDependency
        If Plotly or Jinja2 is not installed, or what figures need.
    UsageError
        If nothing fits together.
    OutputExists
        If there is a page already.
    RunError, CacheError
        If what is to be shown cannot be read.
    """
    check(out, choices)
    paths = [Path(path) for path in shown]
    caches = [path for path in paths if is_cache(path)]
    if choices.metric is not None and (caches or len(paths) < 2):
        raise errors.UsageError("--metric says what runs are compared by: name several runs.")
    if not caches:
        return report_runs([_judged(path) for path in paths], out, choices, progress, note)
    if len(paths) > 1:
        raise errors.UsageError(f"{caches[0]} is a cache: name it alone, or run folders without it.")
    with Cache(caches[0]) as cache:
        found = finding.find_images(cache, _path(choices.images))
        _tell_where(found, note)
        made = Page(
            f"Cache {cache.path.name}",
            f"{cache.rows} transfer values of {len(cache.samples)} samples.",
            (contents.contents(describe(cache), cache), mapping.map_of_cache(cache, found, progress)),
            predictions=False,
        )
        return write(made, out, choices, progress)


def report_runs(
    runs: Sequence[Judged],
    out: StrPath,
    choices: Choices,
    progress: Told = lambda done, total, words: None,
    note: Callable[[str], None] = lambda _: None,
) -> Written:
    """Write the page of runs that were read, or have just been made; see `report`."""
    check(out, choices)
    for first, second in _pairs(runs):
        if first.stored.path.resolve() == second.stored.path.resolve():
            raise errors.UsageError(f"{first.name} and {second.name} are the same run. Name it once.")
    compared, refused = _compared(runs, choices.metric)
    with ExitStack() as opened:
        caches = [_cache_of(run, opened, note) for run in runs]
        images = [
            None if cache is None else finding.find_images(cache, _path(choices.images)) for cache in caches
        ]
        for found in images:
            if found is not None:
                _tell_where(found, note)
        every = list(zip(runs, caches, images, strict=True))
        distinct = every[:1] if _all_of_one(every) else every
        of_distinct = [run for run, _, _ in distinct]
        sections = [
            outcome.results(runs),
            confusion.confusion(runs),
            curves.curves(runs),
            calibration.calibration(runs),
            training_curves.training(runs),
            verdicts.comparison(runs, compared) if refused is None else Section("Comparison", (refused,)),
            verdicts.controls(runs),
            *_by_run(
                runs,
                [
                    gallery.example_sections(
                        run, cache, found, maps=choices.maps, weights=choices.weights, progress=progress
                    )
                    for run, cache, found in every
                ],
            ),
            *_by_run(
                of_distinct,
                [[mapping.map_of_run(run, cache, found, progress)] for run, cache, found in distinct],
            ),
            *_by_run(
                of_distinct,
                [
                    [] if cache is None else [contents.contents(describe(cache), cache)]
                    for _, cache, _ in distinct
                ],
            ),
            repeating.repeating(list(runs)),
        ]
    made = Page(_title(runs), _about(runs), tuple(section for section in sections if section is not None))
    return write(made, out, choices, progress)


def report_audit(document: dict[str, Any], out: StrPath, choices: Choices) -> Written:
    """Write the page of an audit.

    Parameters
    ----------
    document : dict
        As `auditing.audit_cache` returns it.
    out : str or Path
    choices : Choices
    """
    with ExitStack() as opened:
        caches = {
            other: opened.enter_context(Cache(document[name]))
            for other, name in ((False, "cache"), (True, "against"))
            if document[name] is not None
        }
        thumbnails, lacking = finding.audit_thumbnails(caches, _path(choices.images))
        made = Page(
            f"Audit of {Path(document['cache']).name}",
            "Copies, leaks, doubtful labels, outliers and confounding, as far as vectors tell.",
            audit.sections({**document, "notes": [*document["notes"], *lacking]}, thumbnails),
            predictions=bool(document["label_suspects"]),
        )
        return write(made, out, choices)


def write(
    made: Page, out: StrPath, choices: Choices, progress: Told = lambda done, total, words: None
) -> Written:
    """Write a page, and its figures if asked for."""
    progress(0, 1, "writing")
    page.write(made, Path(out), overwrite=choices.overwrite)
    figures: list[Path] = []
    if choices.figures is not None:
        figures = plates.write_figures(made, Path(choices.figures), overwrite=choices.overwrite)
    progress(1, 1, "written")
    return Written(Path(out), figures)


def check(out: StrPath, choices: Choices) -> None:
    """Refuse what could not be written, before anything is computed."""
    page.require()
    page.free(Path(out), overwrite=choices.overwrite)
    if choices.figures is not None:
        plates.require(Path(choices.figures))


def _judged(path: Path) -> Judged:
    stored = read_run(path)
    return Judged(str(path), stored.results(), stored)


def _path(path: StrPath | None) -> Path | None:
    return None if path is None else Path(path)


def _tell_where(found: finding.Found, note: Callable[[str], None]) -> None:
    if not found:
        note(found.why)


def _pairs(runs: Sequence[Judged]) -> Iterator[tuple[Judged, Judged]]:
    return ((first, second) for number, first in enumerate(runs) for second in runs[number + 1 :])


def _compared(runs: Sequence[Judged], metric: str | None) -> tuple[dict[str, Any] | None, Words | None]:
    """Return the comparison of several runs, or why they cannot be compared."""
    chosen = metric or runs[0].document["comparison"]["metric"]
    comparing.check_metric(chosen)
    if len(runs) < 2:
        return None, None
    try:
        return comparing.compare_runs([run.stored.path for run in runs], chosen), None
    except errors.RunError as error:
        return None, Words(f"These runs cannot be compared by numbers. {error}", "note")


def _cache_of(run: Judged, opened: ExitStack, note: Callable[[str], None]) -> Cache | None:
    """Return the cache that a run was made of, if it is still where it was, or beside the run."""
    named = Path(str(run.stored.made_with.get("cache")))
    places = dict.fromkeys([named, run.stored.path.parent / named, run.stored.path.parent / named.name])
    for place in places:
        if not place.is_file():
            continue
        try:
            return opened.enter_context(Cache(place))
        except errors.CacheError as error:
            note(f"{run.name}: {error}")
            return None
    note(f"{run.name}: its cache {named} is not there any more; what needs vectors or images is left out.")
    return None


def _all_of_one(every: Sequence[tuple[Judged, Cache | None, finding.Found | None]]) -> bool:
    """Tell whether all runs are of the same vectors in the same cache, so that these are shown once."""
    of = {(cache and cache.path.resolve(), run.stored.plan["fingerprint"]) for run, cache, _ in every}
    return len(of) == 1


def _by_run(runs: Sequence[Judged], sections: list[list[Section]]) -> list[Section]:
    """Return sections that each run has for itself: as they are of one, side by side of several."""
    if len(runs) == 1:
        return sections[0]
    titles = dict.fromkeys(section.title for own in sections for section in own)
    return [
        Section(
            title,
            (
                Columns(
                    tuple(
                        (run.name, tuple(_numbered(part, number) for part in section.parts))
                        for number, (run, own) in enumerate(zip(runs, sections, strict=True), start=1)
                        for section in own
                        if section.title == title
                    )
                ),
            ),
        )
        for title in titles
    ]


def _numbered(part: Part, number: int) -> Part:
    """Return a part whose figures have the run's number in their names, which are of a kind in a page."""
    if isinstance(part, Figure):
        return replace(part, name=f"{part.name}-{number}")
    if isinstance(part, Folded):
        return replace(part, parts=tuple(_numbered(inner, number) for inner in part.parts))
    if isinstance(part, Columns):
        columns = ((name, tuple(_numbered(inner, number) for inner in parts)) for name, parts in part.columns)
        return Columns(tuple(columns))
    return part


def _title(runs: Sequence[Judged]) -> str:
    return f"Run {runs[0].name}" if len(runs) == 1 else f"Runs {', '.join(run.name for run in runs)}"


def _about(runs: Sequence[Judged]) -> str:
    """Return what was judged, in a line."""
    lines = []
    for run in runs:
        document = run.document
        patients = "" if document["patients"] is None else f" of {document['patients']} patients"
        text = (
            f"{len(document['heads'])} heads, {document['rounds']} rounds on {document['rows']} images"
            f"{patients}, classes {', '.join(document['classes'])}"
        )
        lines.append(text if len(runs) == 1 else f"{run.name}: {text}")
    return "\n".join(lines)
