"""The command line: each command reads its options, calls one function of `api` and shows what came of it.

Results go to stdout, progress and messages to stderr. Everything but click is imported inside the commands, so
that `icehouse --help` answers at once.
"""

from __future__ import annotations

from typing import Any

import click

from . import __version__
from .audit_command import audit
from .bundle.commands import bundle, evaluate, fit, predict
from .cache.commands import cache
from .classify.commands import classify, compare
from .console import (
    FAILED_IMAGES,
    Group,
    anonymize_options,
    debug_option,
    json_option,
    note,
    preparation_options,
    quiet_option,
    show,
)
from .experiment_command import run
from .explain_command import explain
from .report_command import report


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="icehouse", message="%(prog)s %(version)s")
@debug_option
def main() -> None:
    """Transfer values of frozen CNNs: computed once, kept in HDF5, classified again and again.

    Research software, not a medical device.
    """


@main.command()
@click.argument("data", type=click.Path())
@click.option(
    "-o", "--output", "cache", type=click.Path(), required=True, help="The cache to make or bring up to date."
)
@click.option(
    "--backbone", default="inceptionv3", show_default=True, help="See: icehouse backbones; or model:PATH."
)
@click.option(
    "--weights", default="imagenet", show_default=True, help="imagenet, a weights file, or random:SEED."
)
@preparation_options
@click.option(
    "--scaling",
    default="backbone",
    show_default=True,
    help="How grey values are scaled for the network: its own way, unit (0 to 1), none, ...",
)
@click.option(
    "--frames",
    default="all",
    show_default=True,
    help="Which slices of a volume or series: all, middle, every:N, open-lung or open-lung:T.",
)
@click.option("--views", type=click.IntRange(1), default=1, show_default=True, help="Variants to train on.")
@click.option(
    "--augment",
    help="How variants are drawn; seed:N for others.  [default: the cache's, or "
    "flips,rotate:360,zoom:0.05,shift:0.05]",
)
@click.option(
    "--layer",
    "layers",
    multiple=True,
    help="avg_pool, the name of a layer, or pyramid; may be repeated.  [default: the cache's, or avg_pool]",
)
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    help="keras, openvino, or auto: a GPU if there is one, else OpenVINO.",
)
@click.option(
    "--precision", default="float32", show_default=True, help="float32, bfloat16 or float16: quicker, coarser."
)
@click.option("--trust-model", is_flag=True, help="Run the code that a model file holds; it can do anything.")
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Changes no vector.  [default: chosen by the size of the input]",
)
@click.option("--workers", type=click.IntRange(1), help="Threads that decode; one per processor unless told.")
@click.option("--root", type=click.Path(), help="What a manifest's paths are relative to, if not its folder.")
@click.option("--limit", type=click.IntRange(1), help="Take the first N samples of each class only.")
@click.option(
    "--labels", type=click.Path(), help="A CSV file (path, label, patient, ...) in place of what DATA says."
)
@click.option(
    "--dry-run", is_flag=True, help="Say what would be computed, how long and how large; write no cache."
)
@click.option("--accept-drift", is_flag=True, help="Add vectors although the network's results have drifted.")
@anonymize_options
@json_option
@quiet_option
@debug_option
@click.pass_context
def extract(
    ctx: click.Context,
    /,
    data: str,
    cache: str,
    layers: tuple[str, ...],
    dry_run: bool,
    anonymize: bool,
    keep_columns: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Compute the transfer values of the images in DATA and keep them in a cache.

    DATA is a folder with one sub-folder per class (or train, val and test folders of such), or a CSV
    manifest with a column 'path' and optionally 'label', 'patient', 'split' and others. What the cache holds
    already is not computed again. Ends with exit code 3 if some images failed.
    """
    from . import api
    from .report import extraction, progress

    say = note(quiet)
    options["layers"] = layers or None
    if dry_run:
        estimate = api.estimate(data, cache, note=say, **options)
        show(estimate.as_dict(), as_json, extraction.estimate_text)
        return
    with progress.bar("Extracting", shown=not quiet) as update:
        summary = api.extract(
            data,
            cache,
            note=say,
            anonymize=anonymize,
            keep_columns=keep_columns,
            progress=lambda now: update(now.done, now.total, progress.extraction_words(now)),
            **options,
        )
    for text in extraction.remarks(summary.as_dict()):
        say(text)
    show(summary.as_dict(), as_json, extraction.summary_text)
    if summary.failed:
        ctx.exit(FAILED_IMAGES)


@main.command()
@click.argument("folder", type=click.Path(), default="icehouse-demo")
@click.option("--ct", is_flag=True, help="Draw CT sequences, and take the slices that show the lung open.")
@quiet_option
@debug_option
def demo(folder: str, ct: bool, quiet: bool) -> None:
    """Go the whole way on synthetic chest X-rays, in FOLDER (icehouse-demo unless told)."""
    from . import demo as demonstration
    from .report import evaluation, progress, results, tables

    with progress.bar("Demo", shown=not quiet) as update:
        made = demonstration.demo(
            folder,
            ct=ct,
            drawing=lambda done, total: update(done, total, "drawn"),
            extracting=lambda now: update(now.done, now.total, progress.extraction_words(now)),
            classifying=lambda done, total: update(done, total, "rounds"),
            showing=update,
            note=note(quiet),
        )
    click.echo(results.run_tables(made["run"].document))
    if "evaluation" in made:
        click.echo(f"\n{evaluation.evaluation_text(made['evaluation'])}")
    click.echo(tables.demo_text(made))


@main.command()
@click.argument("data", type=click.Path())
@click.option("--backbone", default="inceptionv3", show_default=True, help="The network whose input is shown.")
@preparation_options
@click.option("--root", type=click.Path(), help="What a manifest's paths are relative to, if not its folder.")
@click.option("--limit", type=click.IntRange(1), help="Take the first N samples of each class only.")
@click.option(
    "--labels", type=click.Path(), help="A CSV file (path, label, patient, ...) in place of what DATA says."
)
@click.option("--sheet", type=click.Path(), help="Where the contact sheet goes.  [default: NAME-sheet.png]")
@click.option("--overwrite", is_flag=True, help="Replace an older contact sheet.")
@json_option
@quiet_option
@debug_option
@click.pass_context
def inspect(ctx: click.Context, /, data: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Look at the images in DATA before computing anything: what they are, and what is wrong with them.

    Reads every file, prints counts and warnings, and draws a contact sheet of what the network will see. No
    network is loaded. Ends with exit code 3 if some images cannot be read.
    """
    from . import survey
    from .report import inspection, progress

    with progress.bar("Reading", shown=not quiet) as update:
        found = survey.inspect(
            data, progress=lambda done, total: update(done, total, "files"), note=note(quiet), **options
        )
    show(found, as_json, inspection.inspection_text)
    if found["unreadable"]:
        ctx.exit(FAILED_IMAGES)


@main.command()
@click.argument("folder", type=click.Path(), default=".")
@json_option
@debug_option
@click.pass_context
def doctor(ctx: click.Context, /, folder: str, as_json: bool) -> None:
    """Check libraries, engines, weights, disk and locks, and say what mends what is wrong.

    FOLDER is where caches are or will be: this one unless told. Ends with exit code 1 if something fails.
    """
    from . import survey
    from .report import doctor as texts

    checks = survey.diagnose(folder, note=note(as_json))
    show(checks, as_json, texts.doctor_text)
    if any(check["status"] == "FAIL" for check in checks):
        ctx.exit(1)


@main.command()
@json_option
@debug_option
def backbones(as_json: bool) -> None:
    """List the backbones, and whether their ImageNet weights are on this machine."""
    from . import survey
    from .report import extraction

    show(survey.list_backbones(), as_json, extraction.backbones_text)


@main.command()
@click.option("--check", is_flag=True, help="Read every file that is there, and compare its hash.")
@json_option
@debug_option
def weights(check: bool, as_json: bool) -> None:
    """Say where the ImageNet weights of each backbone are looked for, and whether they are there.

    ICEHOUSE_WEIGHTS names a folder that is looked into first.
    """
    from . import survey
    from .report import extraction

    show(survey.list_weights(check=check), as_json, extraction.weights_text)


@main.command()
@json_option
@debug_option
def heads(as_json: bool) -> None:
    """List the heads and their parameters."""
    from . import survey
    from .report import tables

    show(survey.list_heads(), as_json, tables.heads_text)


for command in (cache, audit, classify, compare, report, run, fit, predict, evaluate, explain, bundle):
    main.add_command(command)
