"""The commands that fit, keep and use heads: each calls one function of `fitted` and shows what came of it.

Everything but click is imported inside the commands, so that `icehouse --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .. import errors
from ..console import (
    FAILED_IMAGES,
    Group,
    debug_option,
    json_option,
    new_images_options,
    note,
    quiet_option,
    show,
)

_SHARE = click.FloatRange(0, 1)


def _scoring_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say how images are scored."""
    options = [
        click.option(
            "--threshold", type=_SHARE, help="Probability from which on the positive class is predicted."
        ),
        click.option(
            "--sensitivity",
            type=click.FloatRange(0, 1, min_open=True),
            help="Choose the threshold that found this share of positives out of fold in training.",
        ),
        click.option("--reject", type=_SHARE, help="Leave images undecided whose p-value 'ood' is below this."),
        click.option("--by", help="Roll slices up: patient, or a column such as series.  [default: no]"),
        click.option(
            "--rule",
            help="With --by: any, fraction:F, mean, max, or auto, which was chosen in training.",
        ),
        click.option(
            "--cache",
            "reuse",
            type=click.Path(path_type=Path),
            help="Take vectors that this cache has; it is only read.",
        ),
    ]
    command = new_images_options(command)
    for option in reversed(options):
        command = option(command)
    return command


def _said(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without its notes, which were told on the way."""
    return {**document, "notes": []}


@click.command()
@click.argument("cache", type=click.Path())
@click.option("-o", "--output", "out", type=click.Path(), required=True, help="The bundle to write.")
@click.option("--head", required=True, help="A head, such as svm or svm:C=10. See: icehouse heads.")
@click.option("--calibrate", is_flag=True, help="Calibrate probabilities; a head without them always is.")
@click.option(
    "--sensitivity",
    type=click.FloatRange(0, 1, min_open=True),
    help="Choose the threshold that finds this share of positives out of fold.  [default: threshold 0.5]",
)
@click.option("--from-run", type=click.Path(), help="A run that judged this head: what to expect of it.")
@click.option("--reduce", help="pca:N reduces vectors to N principal components.")
@click.option("--tune", is_flag=True, help="Search the head's small grid.")
@click.option("--balance", type=click.Choice(["weights"]), help="Weigh classes so that they count alike.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--positive", help="The positive class of two, where the names do not tell.")
@click.option(
    "--layer", multiple=True, help="Whose vectors; repeated, or pyramid for all.  [default: the first]"
)
@click.option(
    "--labels", type=click.Path(), help="A CSV file (path, label, patient, ...) in place of the cache's."
)
@click.option("--partial", is_flag=True, help="Go on although samples of the cache are pending.")
@click.option("--overwrite", is_flag=True, help="Replace an older bundle.")
@json_option
@quiet_option
@debug_option
def fit(cache: str, head: str, layer: tuple[str, ...], as_json: bool, quiet: bool, **options: Any) -> None:
    """Fit a head on everything in a cache, and keep it in a bundle with all that its use needs.

    Judge heads first, with `icehouse classify`. TensorFlow is not needed.
    """
    from .. import fitted
    from ..report import prediction

    made = fitted.fit_head(cache, head, layer=layer or None, note=note(quiet), **options)
    show(made.document, as_json, lambda document: prediction.bundle_text(_said(document)))


@click.command()
@click.argument("head", metavar="BUNDLE", type=click.Path())
@click.argument("images", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o", "--output", "out", type=click.Path(path_type=Path), help="The CSV file to write.  [default: stdout]"
)
@click.option(
    "--images",
    "images_out",
    type=click.Path(path_type=Path),
    help="With --by: where the rows of the images go.",
)
@_scoring_options
@click.option("--overwrite", is_flag=True, help="Replace older CSV files.")
@json_option
@quiet_option
@debug_option
@click.pass_context
def predict(
    ctx: click.Context,
    /,
    head: str,
    images: tuple[str, ...],
    out: Path | None,
    images_out: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Score IMAGES (files, folders, a CSV manifest, or a cache) with the head in BUNDLE.

    New images get their vectors by the bundle's own recipe; from a cache, TensorFlow is not needed. Writes a
    row for each image. Ends with exit code 3 if some images failed.

    Research software, not a medical device.
    """
    from .. import fitted
    from ..report import prediction, progress
    from ..report.tables import DISCLAIMER
    from .bundle import free
    from .predictions import write_rows

    if images_out is not None and options["by"] is None:
        raise errors.UsageError(
            "--images is where the rows of images go beside those of patients: it needs --by."
        )
    if images_out is not None and out is not None and images_out.absolute() == out.absolute():
        raise errors.UsageError(f"-o and --images both name {out}: give each table a file of its own.")
    for path in (out, images_out):
        if path is not None:
            free(path, overwrite=overwrite, table=True)
    loaded = fitted.load_head(head)
    with progress.bar("Predicting", shown=not quiet) as update:
        found = loaded.predict(
            images,
            progress=update,
            note=note(quiet),
            key_folder=Path.cwd() if out is None else out.absolute().parent,
            **options,
        )
    if images_out is not None:
        found.write(images_out, images=True, overwrite=overwrite)
    document = {**found.document, "out": str(out) if out is not None else None, "disclaimer": DISCLAIMER}
    if out is not None:
        found.write(out, overwrite=overwrite)
        show(document, as_json, lambda document: prediction.prediction_text(_said(document)))
    elif as_json:
        show({**document, "predictions": found.rows}, True, prediction.prediction_text)
    else:
        table = found.predictions if found.rolled is None else found.rolled
        write_rows(sys.stdout, table.headings(), table.rows())
        note(quiet)(prediction.prediction_text(_said(document)))
    if document["failed"]:
        ctx.exit(FAILED_IMAGES)


@click.command()
@click.argument("head", metavar="BUNDLE", type=click.Path())
@click.argument("data", nargs=-1, required=True, type=click.Path())
@_scoring_options
@click.option(
    "--prevalence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Give positive and negative predictive value at this prevalence too.",
)
@click.option(
    "--allow-training", is_flag=True, help="Judge although training images or patients are among DATA."
)
@json_option
@quiet_option
@debug_option
@click.pass_context
def evaluate(
    ctx: click.Context, /, head: str, data: tuple[str, ...], as_json: bool, quiet: bool, **options: Any
) -> None:
    """Judge the head in BUNDLE on labelled DATA that it was not trained on.

    DATA is a folder with one sub-folder per class, a CSV manifest, or a cache. Every number has a 95 % interval
    over patients. Ends with exit code 3 if some images failed.
    """
    from .. import fitted
    from ..report import evaluation, progress
    from ..report.tables import DISCLAIMER

    loaded = fitted.load_head(head)
    with progress.bar("Scoring", shown=not quiet) as update:
        document = loaded.evaluate(
            data,
            progress=update,
            note=note(quiet),
            **options,
        )
    document["disclaimer"] = DISCLAIMER
    show(document, as_json, lambda document: evaluation.evaluation_text(_said(document)))
    if document["failed"]:
        ctx.exit(FAILED_IMAGES)


@click.group(cls=Group)
def bundle() -> None:
    """Look into bundles: fitted heads in files."""


@bundle.command()
@click.argument("head", metavar="BUNDLE", type=click.Path())
@json_option
@debug_option
def info(head: str, as_json: bool) -> None:
    """Say what a bundle holds: classes, head, recipe, training data, and what to expect of it."""
    from .. import fitted
    from ..report import prediction

    show(fitted.load_head(head).document, as_json, prediction.bundle_text)
