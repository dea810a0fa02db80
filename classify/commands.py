"""The commands that judge heads: each calls one function of `judging` and shows what came of it.

Everything but click is imported inside the commands, so that `icehouse --help` answers at once.
"""

from __future__ import annotations

from typing import Any

import click

from .. import errors
from ..console import debug_option, json_option, note, quiet_option, show


@click.command()
@click.argument("cache", type=click.Path())
@click.option("-o", "--output", "out", type=click.Path(), required=True, help="The run folder to write.")
@click.option(
    "--head",
    "heads",
    multiple=True,
    help="A head, such as svm or svm:C=10; may be repeated. See: icehouse heads.  [default: mlp, svm, xgboost]",
)
@click.option("--rounds", type=click.IntRange(1), help="Random splits.  [default: 10]")
@click.option(
    "--test-size",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the images that a random split tests.  [default: 0.3]",
)
@click.option("--folds", type=click.IntRange(2), help="Cross-validation in so many folds, not random splits.")
@click.option("--repeats", type=click.IntRange(1), default=1, show_default=True, help="Of the folds.")
@click.option(
    "--split-columns", help="Columns of the data that say train or test, a split each: fold1,fold2,..."
)
@click.option("--splits", type=click.Path(), help="A run whose splits are taken over: to compare backbones.")
@click.option(
    "--vary",
    type=click.Choice(["both", "split", "seed"]),
    default="both",
    show_default=True,
    help="What differs between rounds; with seed there is one split.",
)
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="Head seeds for each split."
)
@click.option("--ungrouped", is_flag=True, help="Split without regard to patients: to see what leaks.")
@click.option(
    "--balance",
    type=click.Choice(["weights", "subsample"]),
    help="Make classes even in training: weigh them, or test the surplus patients.",
)
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of each training part that is put aside to follow training on.",
)
@click.option("--reduce", help="pca:N reduces vectors to N principal components of each training part.")
@click.option("--tune", is_flag=True, help="Search each head's small grid within each training part.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed gives the same numbers."
)
@click.option("--positive", help="The positive class of two, where the names do not tell.")
@click.option(
    "--layer",
    multiple=True,
    help="Whose vectors, where a cache has several layers; repeated, or pyramid for all.  [default: the first]",
)
@click.option(
    "--test-views",
    type=click.Choice(["first", "mean"]),
    default="first",
    show_default=True,
    help="Test a picture itself, or the mean of the scores over its views.",
)
@click.option(
    "--controls/--no-controls", default=True, help="Judge the data and the protocol too.  [default: yes]"
)
@click.option("--metric", default="balanced_accuracy", show_default=True, help="What heads are compared by.")
@click.option(
    "--time-budget",
    type=click.FloatRange(0, min_open=True),
    help="Seconds that the rounds of one head may take; it is stopped then, and the others go on.",
)
@click.option(
    "--by", help="Judge whole patients too (--by patient), or what another column tells apart. Needs --rule."
)
@click.option("--rule", help="How slices become one answer with --by: any, fraction:0.1, mean, max or auto.")
@click.option(
    "--labels",
    type=click.Path(),
    help="A CSV file (path, label, patient, ...): what it says takes the place of the cache's; an empty label "
    "leaves a sample out.",
)
@click.option(
    "--jobs", type=click.IntRange(1), help="Rounds at once; one per processor unless told. Changes no number."
)
@click.option("--partial", is_flag=True, help="Go on although samples of the cache are pending.")
@click.option("--overwrite", is_flag=True, help="Replace another run in the same folder.")
@json_option
@quiet_option
@debug_option
@click.pass_context
def classify(
    ctx: click.Context,
    /,
    cache: str,
    heads: tuple[str, ...],
    split_columns: str | None,
    ungrouped: bool,
    layer: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train and judge heads on a cache's vectors, all on the same splits.

    Splits are stratified by class, and grouped by patient where patients are known. TensorFlow is not needed.
    """
    from .. import judging
    from ..report import progress

    columns = () if split_columns is None else [name.strip() for name in split_columns.split(",")]
    try:
        with progress.bar("Judging", shown=not quiet) as update:
            run = judging.run_rounds(
                cache,
                heads or judging.DEFAULT_HEADS,
                split_columns=columns,
                grouped=not ungrouped,
                layer=layer or None,
                progress=lambda done, total: update(done, total, "rounds"),
                note=note(quiet),
                **options,
            )
    except KeyboardInterrupt:
        raise errors.Interrupted(
            f"Interrupted. {options['out']} keeps the rounds that are done; the same command goes on there."
        ) from None
    from ..report import results

    show(run.document, as_json, results.run_tables)
    if run.document["stopped"] and not run.document["heads"]:
        ctx.exit(1)


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("--metric", default="balanced_accuracy", show_default=True, help="What heads are compared by.")
@json_option
@debug_option
def compare(runs: tuple[str, ...], metric: str, as_json: bool) -> None:
    """Compare the heads of RUNS pair by pair, on identical splits.

    Differences are taken round by round, and tested by what knows that rounds overlap. Runs on other splits
    are refused; `classify --splits RUN` makes one on the same.
    """
    from .. import judging
    from ..report import comparison

    show(judging.compare_runs(runs, metric=metric), as_json, comparison.comparison_text)
