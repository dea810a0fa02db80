"""What the names of `icehouse` do with vectors: run rounds, compare runs.

The command line calls these functions and nothing below them; what makes vectors is in `api`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import errors
from .cache.opening import relabelled
from .cache.store import Cache

if TYPE_CHECKING:
    from .classify.heads import Spec
    from .classify.protocol import Protocol
    from .classify.stored import StoredRun

StrPath = str | Path
Told = Callable[[int, int, str], None]

DEFAULT_HEADS = ("mlp", "svm", "xgboost")


class Run:
    """The results of all rounds of all heads.

    Parameters
    ----------
    document : dict
        What `icehouse classify --json` prints.
    stored : StoredRun
        What it is made of.

    Attributes
    ----------
    document : dict
    path : Path or None
        The run folder, if one was written.
    """

    def __init__(self, document: dict[str, Any], stored: StoredRun) -> None:
        self.document = document
        self._stored = stored
        self.path = Path(document["run"]) if document["run"] is not None else None

    def __repr__(self) -> str:
        heads = ", ".join(self.document["heads"])
        return f"<icehouse run of {heads}, {self.document['rounds']} rounds>"

    def table(self, head: str | None = None) -> str:
        """Return the summary of all heads, or the rounds of one, as text."""
        from .report import results, tables

        if head is None:
            return f"{results.summary_text(self.document)}\n{tables.DISCLAIMER}"
        if head not in self.document["heads"]:
            raise errors.UsageError(f"No head {head!r} in this run: {', '.join(self.document['heads'])}.")
        parts = [results.rounds_table(self.document, head)]
        if self.document["by"] is not None:
            parts.append(results.rounds_of_units(self.document, head))
        return "\n\n".join(parts) + f"\n{tables.DISCLAIMER}"

    def report(
        self,
        out: StrPath = "report.html",
        *,
        images: StrPath | None = None,
        maps: bool = True,
        weights: str | None = None,
        figures: StrPath | None = None,
        overwrite: bool = False,
        progress: Told = lambda done, total, words: None,
        note: Callable[[str], None] | None = None,
    ) -> Path:
        """Write everything that the run found to one HTML file that opens offline.

        Parameters
        ----------
        out : str or Path
            The page to write.
        images : str or Path, optional
            Where the images are, if not near the cache: for thumbnails, and for maps of where heads look.
        maps : bool
            Whether to compute such maps, for which the network is needed; without, nothing is loaded.
        weights : str, optional
            The file of the backbone's weights for that, where it is not found by itself.
        figures : str or Path, optional
            A folder for each figure as PNG and SVG.
        overwrite : bool
            Replace a page at `out`.
        progress, note : callable
            Told of the progress (done, total, words), and of what should be known; without `note`, that is a
            warning.

        Returns
        -------
        Path
            The page.

        Raises
        ------
        MissingDependency
            If Plotly or Jinja2 is not installed, or what figures need.
        OutputExists
            If there is a page at `out` and `overwrite` is not set.
        """
        from . import reporting
        from .report.judged import Judged

        judged = Judged(str(self.path or "run"), self.document, self._stored)
        choices = reporting.Choices(images, maps, weights, figures, overwrite=overwrite)
        return reporting.report_runs([judged], out, choices, progress, note or _warn).page


def run_rounds(
    cache: Cache | StrPath,
    heads: Sequence[Any] = DEFAULT_HEADS,
    rounds: int | None = None,
    *,
    test_size: float | None = None,
    folds: int | None = None,
    repeats: int = 1,
    split_columns: Sequence[str] = (),
    splits: StrPath | None = None,
    vary: str = "both",
    seeds: int = 1,
    grouped: bool = True,
    balance: str | None = None,
    validation: float | None = None,
    reduce: int | str | None = None,
    tune: bool = False,
    seed: int = 0,
    positive: str | None = None,
    layer: str | Sequence[str] | None = None,
    test_views: str = "first",
    controls: bool = True,
    metric: str = "balanced_accuracy",
    time_budget: float | None = None,
    by: str | None = None,
    rule: str | None = None,
    labels: StrPath | None = None,
    jobs: int | None = None,
    partial: bool = False,
    out: StrPath | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    note: Callable[[str], None] | None = None,
) -> Run:
    """Train and judge heads on a cache's vectors, all on the same splits; TensorFlow is not needed.

    Splits are stratified by class, and grouped by patient where patients are known. docs/rounds.md says what
    the choices mean.

    Parameters
    ----------
    cache : Cache, str or Path
    heads : sequence
        Names, with parameters where wanted, `["mlp", "svm:C=10", {"name": "mlp", "hidden": (128, 64)}]`, and
        estimators of your own, each as such or as a pair `("name", estimator)`.
    rounds : int, optional
        Random splits; 10 unless told.
    test_size : float, optional
        Share of the rows that a random split tests; 0.3 unless told.
    folds : int, optional
        Cross-validation in so many folds in place of random splits.
    repeats : int
        How often the folds are drawn.
    split_columns : sequence of str
        Columns that say "train" or "test" of each sample, a split each, in place of random ones.
    splits : str or Path, optional
        A run whose splits are taken over: the way to compare backbones.
    vary : {"both", "split", "seed"}
        What differs between rounds: the split, the head's seed, or both. With "seed" there is one split, and
        `rounds` seeds.
    seeds : int
        Head seeds for each split.
    grouped : bool
        Whether patients, where known, are kept on one side of each split. Without, to see what leaks.
    balance : {None, "weights", "subsample"}
        How classes of unequal size are made even in training: by weights, or by testing the surplus.
    validation : float, optional
        Share of the training part, whole patients, that is put aside to follow training on.
    reduce : int or str, optional
        Principal components that vectors are reduced to in each training part, such as 256 or "pca:256".
    tune : bool
        Search each head's small grid within each training part.
    seed : int
        The same seed gives the same numbers.
    positive : str, optional
        The positive class of two, where the names do not tell.
    layer : str or sequence of str, optional
        Whose vectors, of a cache with several layers; its first one unless told. Those of several are put one
        after another; "pyramid" is all of them.
    test_views : {"first", "mean"}
        Test each frame by its unaltered view, or by the mean of the scores over all its views.
    controls : bool
        Whether to judge the data and the protocol too: see `Run.document["controls"]`.
    metric : str
        What heads are compared by.
    time_budget : float, optional
        Seconds that the rounds of one head may take; one that takes longer is stopped, and the others go on.
    by : str, optional
        Judge whole patients too, by "patient", or whatever another column tells apart, such as "study".
    rule : str, optional
        By which the images of a patient become one answer: "any", "fraction:0.1", "mean", "max" or "auto".
    labels : str or Path, optional
        A CSV file with a column `path` whose label, patient and split take the place of the cache's. Samples
        that it does not name keep theirs; an empty label leaves a sample out.
    jobs : int, optional
        Rounds that run at once; one per processor unless told.
    partial : bool
        Go on although samples of the cache are pending.
    out : str or Path, optional
        A run folder to write; an interrupted run goes on there.
    overwrite : bool
        Replace another run at `out`.
    progress, note : callable
        Told of rounds done, and of what should be known of the data; without `note`, that is a warning.

    Returns
    -------
    Run

    Raises
    ------
    IcehouseError
        With one clear sentence; see `icehouse.errors` for the tree.
    """
    from .classify import by as units
    from .classify import problem as problems
    from .classify import rounds as engine
    from .classify import runs

    say = note or _warn
    specs, protocol = _understood(
        heads,
        rounds=rounds,
        test_size=test_size,
        folds=folds,
        repeats=repeats,
        split_columns=split_columns,
        splits=splits,
        vary=vary,
        seeds=seeds,
        balance=balance,
        validation=validation,
        reduce=reduce,
        tune=tune,
        seed=seed,
        test_views=test_views,
        controls=controls,
        metric=metric,
        jobs=jobs,
        time_budget=time_budget,
        by=by,
        rule=rule,
    )
    if not grouped and (splits is not None or split_columns):
        way = "--splits" if splits is not None else "--split-columns"
        raise errors.UsageError(f"--ungrouped is for splits that are drawn; it does not go with {way}.")
    with relabelled(cache, labels, say) as opened:
        problem = problems.from_cache(opened, positive=positive, partial=partial, layer=layer, grouped=grouped)
        if by is not None:
            problem = replace(problem, by=units.units_by(problem, opened, by))
    for text in problem.notes:
        say(text)
    document, stored = engine.run(
        problem,
        specs,
        protocol,
        "+".join(opened.header.fingerprints[name] for name in problem.layers),
        made_with={**runs.made_with(opened), "splits": str(splits) if splits is not None else None},
        out=Path(out) if out is not None else None,
        overwrite=overwrite,
        progress=progress,
        note=say,
    )
    return Run(document, stored)


def check(heads: Sequence[Any] = DEFAULT_HEADS, **options: Any) -> None:
    """Raise `UsageError` for what `run_rounds` refuses whatever the cache: heads, options that clash."""
    of_the_cache = ("positive", "layer", "grouped")
    _understood(heads, **{name: value for name, value in options.items() if name not in of_the_cache})


def _understood(
    heads: Sequence[Any],
    *,
    split_columns: Sequence[str] = (),
    splits: StrPath | None = None,
    reduce: int | str | None = None,
    **options: Any,
) -> tuple[list[Spec], Protocol]:
    """Return the heads and how they are judged, everything the user typed having been checked."""
    from .classify import heads as kinds
    from .classify import protocol as protocols

    protocol = protocols.Protocol(
        split_columns=tuple(split_columns),
        reused=Path(splits) if splits is not None else None,
        reduce=protocols.components(reduce),
        **options,
    )
    protocol.check()
    specs = kinds.parse_all(heads)
    for spec in specs:
        spec.check()
    return specs, protocol


def compare_runs(runs: Sequence[StrPath], *, metric: str = "balanced_accuracy") -> dict[str, Any]:
    """Compare every head of one run or several, pair by pair, on identical splits.

    Differences are of the same rounds, with the corrected paired t-test and Holm's correction over pairs.

    Parameters
    ----------
    runs : sequence of str or Path
        Run folders.
    metric : str
        One of those in a run's results.

    Returns
    -------
    dict
        What `icehouse compare --json` prints.

    Raises
    ------
    RunError
        If the runs' splits differ, naming what does, or one is unfinished or damaged.
    UsageError
        If there is no such metric, or nothing to compare.
    """
    from .classify import comparison

    return comparison.compare_runs([Path(run) for run in runs], metric)


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)
