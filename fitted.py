"""What the names of `icehouse` do with fitted heads: fit one, keep it, load it, predict, evaluate."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import errors, scoring
from .cache.opening import is_cache, relabelled
from .cache.store import Cache

if TYPE_CHECKING:
    from .bundle.bundle import Bundle
    from .bundle.predicted import Predicted
    from .bundle.predictions import Predictions

StrPath = str | Path


class FittedHead:
    """A fitted head with its recipe: what `icehouse fit` writes and `icehouse.load_head` reads.

    Parameters
    ----------
    bundle : Bundle

    Attributes
    ----------
    bundle : Bundle
    document : dict
        What `icehouse bundle info --json` prints.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def __repr__(self) -> str:
        head = self.bundle.provenance.head["text"]
        return f"<icehouse head {head}, classes {', '.join(self.bundle.classes)}>"

    @property
    def document(self) -> dict[str, Any]:
        return self.bundle.as_dict()

    def save(self, path: StrPath, *, overwrite: bool = False) -> None:
        """Write the head to a bundle file, whole or not at all.

        Raises
        ------
        OutputExists
            If the file exists and `overwrite` is not set.
        """
        self.bundle.save(Path(path), overwrite=overwrite)

    def predict(
        self,
        images: Cache | StrPath | Sequence[StrPath],
        *,
        by: str | None = None,
        rule: str | None = None,
        sensitivity: float | None = None,
        progress: scoring.Told = lambda done, total, words: None,
        note: Callable[[str], None] | None = None,
        **choices: Any,
    ) -> Predicted:
        """Score images, or the vectors of a cache.

        Parameters
        ----------
        images : Cache, str, Path or sequence of str or Path
            A cache (then nothing of TensorFlow is loaded), a folder, a CSV manifest, or files and folders.
        by : str, optional
            "patient", or a column by which slices are rolled up to one answer.
        rule : str, optional
            How: "any", "fraction:F", "mean", "max" or "auto".
        sensitivity : float, optional
            Choose the threshold of two classes so that so many positives are found, as far as the out-of-fold
            scores of the training tell.
        progress, note : callable
            Told of the progress (done, total, words), and of what should be known; without `note`, that is a
            warning.
        **choices
            `threshold`, `reject`, `reuse`, `frames`, `weights`, `engine`, `trust_model`, `batch_size`,
            `workers`, `root`, `labels`, `accept_drift`: see `icehouse.scoring.Choices` and
            docs/predict.md.

        Returns
        -------
        Predicted

        Raises
        ------
        IcehouseError
            With one clear sentence; see `icehouse.errors` for the tree.
        """
        started = time.perf_counter()
        say = note or _warn
        rolling = self._rule(by, rule)
        folders = tuple(self._folders(images))
        chosen = scoring.Choices(key_folders=folders, **self._with_threshold(sensitivity, choices, say))
        scored = self._scored(images, chosen, progress, say)
        from .bundle import predicted, rolled

        table = rolled.roll(scored, by, rolling) if by is not None and rolling is not None else None
        found = predicted.Predicted(
            scored if table is None else table.predictions, table, time.perf_counter() - started
        )
        for text in found.predictions.notes:
            say(text)
        return found

    def explain(
        self,
        images: StrPath | Sequence[StrPath],
        *,
        target: str | None = None,
        method: str = "occlusion",
        out: StrPath | None = None,
        overwrite: bool = False,
        progress: scoring.Told = lambda done, total, words: None,
        note: Callable[[str], None] | None = None,
        **choices: Any,
    ) -> dict[str, Any]:
        """Show where the head looks in images.

        Parameters
        ----------
        images : str, Path or sequence of str or Path
            A folder, a CSV manifest, or files and folders.
        target : str, optional
            The class that is explained; the one predicted for each picture unless told.
        method : {"occlusion", "grad-cam"}
            Ask with places left out, which any head can be; or follow the head's gradient.
        out : str or Path, optional
            A PNG for one picture, else a folder, to draw the maps over the pictures in.
        overwrite : bool
            Replace older explanations at `out`.
        progress, note, **choices
            As for `predict`, but for those that explain nothing: `threshold`, `reject`, `reuse`.

        Returns
        -------
        dict
            What `icehouse explain --json` prints.

        Raises
        ------
        UsageError
            If there is no such class or method, or the head has no gradient and Grad-CAM is asked for.
        BundleError
            If the head was fitted on other layers than avg_pool, or its cache had no mean map.
        """
        from . import explaining
        from .bundle.images import Choices
        from .report.heat_files import HeatFiles

        paths = [Path(path) for path in ([images] if isinstance(images, (str, Path)) else images)]
        files = None if out is None else HeatFiles(paths, Path(out), overwrite=overwrite)
        chosen = Choices(key_folders=tuple(self._folders(paths)), **choices)
        return explaining.explain(
            self.bundle,
            paths,
            chosen,
            files,
            method=method,
            target=target,
            progress=progress,
            note=note or _warn,
        )

    def evaluate(
        self,
        data: Cache | StrPath | Sequence[StrPath],
        *,
        by: str | None = None,
        rule: str | None = None,
        sensitivity: float | None = None,
        prevalence: float | None = None,
        allow_training: bool = False,
        seed: int = 0,
        progress: scoring.Told = lambda done, total, words: None,
        note: Callable[[str], None] | None = None,
        **choices: Any,
    ) -> dict[str, Any]:
        """Judge the head on labelled data that it was not trained on.

        Parameters
        ----------
        data : Cache, str, Path or sequence of str or Path
            As for `predict`, with labels: class folders, a manifest's column, or `labels=FILE`.
        by, rule, sensitivity, progress, note, **choices
            As for `predict`.
        prevalence : float, optional
            At which positive and negative predictive value are given too.
        allow_training : bool
            Judge although training images or patients are among the data.
        seed : int
            Of the bootstrap.

        Returns
        -------
        dict
            What `icehouse evaluate --json` prints.

        Raises
        ------
        TrainingOverlap
            If training images or patients are among the data.
        IcehouseError
            With one clear sentence; see `icehouse.errors` for the tree.
        """
        from .bundle import labelled
        from .bundle.prevalence import check

        check(prevalence, self.bundle.positive, self.bundle.classes)
        predicted = self.predict(
            data, by=by, rule=rule, sensitivity=sensitivity, progress=progress, note=note, **choices
        )
        known = len(predicted.predictions.notes)
        document = labelled.judge(
            predicted.predictions,
            predicted.rolled,
            prevalence=prevalence,
            allow_training=allow_training,
            key_folders=self._folders(data),
            seed=seed,
        )
        for text in document["notes"][known:]:
            (note or _warn)(text)
        return {"data": _named(data), **document, "failures": predicted.failures()}

    def _rule(self, by: str | None, rule: str | None) -> Any:
        from .classify import rules

        if by is None:
            if rule is not None:
                raise errors.UsageError("--rule says how slices are rolled up: name what to with --by patient.")
            return None
        if rule is None:
            raise errors.UsageError(f"--by {by} needs a rule: --rule {rules.RULES}.")
        parsed = rules.parse(rule)
        parsed.check(self.bundle.positive_class)
        return parsed

    def _with_threshold(
        self, sensitivity: float | None, choices: dict[str, Any], say: Callable[[str], None]
    ) -> dict[str, Any]:
        """Return choices with the threshold that a sensitivity asks for."""
        from .bundle import predictions

        if sensitivity is not None:
            if choices.get("threshold") is not None:
                raise errors.UsageError("Give --threshold or --sensitivity, not both.")
            found = self.bundle.threshold_for(sensitivity)
            if found.note:
                say(found.note)
            choices = {**choices, "threshold": found.value}
        predictions.check(self.bundle, threshold=choices.get("threshold"), reject=choices.get("reject"))
        return choices

    def _scored(
        self,
        images: Cache | StrPath | Sequence[StrPath],
        choices: scoring.Choices,
        progress: scoring.Told,
        note: Callable[[str], None],
    ) -> Predictions:
        if isinstance(images, Cache) and choices.labels is None:
            return scoring.score_cache(self.bundle, images, choices, progress)
        if isinstance(images, Cache):  # labels of a file are read into a cache of its own
            images = images.path
        paths = [images] if isinstance(images, (str, Path)) else list(images)
        caches = [path for path in paths if is_cache(Path(path))]
        if not caches:
            return scoring.score_images(self.bundle, paths, choices, progress, note)
        if len(paths) > 1:
            raise errors.UsageError(f"{caches[0]} is a cache; name it alone, or images without it.")
        with Cache(caches[0]) as cache:
            return scoring.score_cache(self.bundle, cache, choices, progress)

    def _folders(self, data: Cache | StrPath | Sequence[StrPath]) -> Iterator[Path]:
        """Yield the folders that the key of the training patients may lie in."""
        yield self.bundle.path.absolute().parent
        paths = [data.path] if isinstance(data, Cache) else [data] if isinstance(data, (str, Path)) else data
        for path in paths:
            yield from (Path(path).absolute(), Path(path).absolute().parent)
        yield Path.cwd()


def fit_head(
    cache: Cache | StrPath,
    head: str | dict[str, Any] = "svm",
    *,
    calibrate: bool = False,
    sensitivity: float | None = None,
    reduce: int | str | None = None,
    tune: bool = False,
    balance: str | None = None,
    seed: int = 0,
    positive: str | None = None,
    layer: str | Sequence[str] | None = None,
    labels: StrPath | None = None,
    partial: bool = False,
    from_run: StrPath | None = None,
    out: StrPath | None = None,
    overwrite: bool = False,
    note: Callable[[str], None] | None = None,
) -> FittedHead:
    """Fit a head on everything that a cache holds; TensorFlow is not needed.

    Parameters
    ----------
    cache : Cache, str or Path
    head : str or dict
        Such as "svm", "svm:C=10" or `{"name": "mlp", "hidden": (128, 64)}`.
    calibrate : bool
        Turn the head's probabilities into calibrated ones, by scores of folds that keep patients together. A
        head without probabilities, as the SVM, is always calibrated.
    sensitivity : float, optional
        Choose the threshold of two classes so that so many positives are found, as far as out-of-fold scores
        tell; 0.5 is the threshold unless told.
    reduce, tune, balance, seed, positive, layer, labels, partial
        As for `run_rounds`; `balance` is "weights" or None.
    from_run : str or Path, optional
        A run that judged this head on this cache: its numbers go into the bundle, as what to expect.
    out : str or Path, optional
        The bundle to write.
    overwrite : bool
        Replace a file at `out`.
    note : callable, optional
        Told what should be known of the data; without it, that is a warning.

    Returns
    -------
    FittedHead

    Raises
    ------
    IcehouseError
        With one clear sentence; see `icehouse.errors` for the tree.
    """
    from .bundle import fitting
    from .bundle.bundle import free
    from .classify import heads, problem, protocol

    say = note or _warn
    if out is not None:
        free(Path(out), overwrite=overwrite)
    request = fitting.Request(
        spec=heads.parse_all([head])[0],
        calibrate=calibrate,
        sensitivity=sensitivity,
        reduce=protocol.components(reduce),
        tune=tune,
        balance=balance,
        seed=seed,
        run=Path(from_run) if from_run is not None else None,
    )
    request.check()
    path = cache.path if isinstance(cache, Cache) else Path(cache)
    with relabelled(cache, labels, say) as opened:
        posed = problem.from_cache(opened, positive=positive, partial=partial, layer=layer)
        for text in posed.notes:
            say(text)
        place = Path(out) if out is not None else path.with_suffix(".head")
        fitted = FittedHead(fitting.fit(opened, posed, request, place, say))
    if out is not None:
        fitted.save(out, overwrite=overwrite)
    return fitted


def load_head(path: StrPath) -> FittedHead:
    """Load a fitted head from a bundle file, which may come from anyone: nothing in it can run.

    Raises
    ------
    BundleError
        If there is no such file.
    BundleDamaged
        If it is no bundle, damaged, altered or of a newer format.
    """
    from .bundle import bundle

    return FittedHead(bundle.load(Path(path)))


def _named(data: Cache | StrPath | Sequence[StrPath]) -> str:
    if isinstance(data, Cache):
        return str(data.path)
    return str(data) if isinstance(data, (str, Path)) else " ".join(map(str, data))


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)
