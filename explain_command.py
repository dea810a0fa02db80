"""The command `icehouse explain`: it calls one function of `explaining` and shows what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .console import (
    FAILED_IMAGES,
    debug_option,
    json_option,
    new_images_options,
    note,
    quiet_option,
    show,
)


@click.command()
@click.argument("head", metavar="BUNDLE", type=click.Path())
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(path_type=Path),
    help="A PNG for one picture, else a folder.  [default: NAME-heat.png, NAME-heat]",
)
@click.option("--class", "target", help="The class to be explained.  [default: the one predicted]")
@click.option(
    "--method",
    type=click.Choice(["occlusion", "grad-cam"]),
    default="occlusion",
    show_default=True,
    help="Ask with places left out, which any head can be; or follow the head's gradient.",
)
@new_images_options
@click.option("--overwrite", is_flag=True, help="Replace older explanations; nothing else is ever replaced.")
@json_option
@quiet_option
@debug_option
@click.pass_context
def explain(
    ctx: click.Context,
    /,
    head: str,
    images: tuple[Path, ...],
    out: Path | None,
    target: str | None,
    method: str,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Show where the head in BUNDLE looks in IMAGES (files, folders or a CSV manifest).

    Draws the picture beside itself with a heat map over it: how much each place adds to the class. One picture
    becomes a PNG; several, or the slices of a volume, a folder with a PNG of each and contact sheets. Ends with
    exit code 3 if some images failed.

    Research software, not a medical device.
    """
    from . import explaining
    from .bundle import bundle
    from .bundle.images import Choices
    from .report import explanation, progress
    from .report.heat_files import HeatFiles

    loaded = bundle.load(Path(head))
    files = HeatFiles(images, out, overwrite=overwrite)
    with progress.bar("Explaining", shown=not quiet) as update:
        document = explaining.explain(
            loaded,
            images,
            Choices(**options),
            files,
            method=method,
            target=target,
            progress=update,
            note=note(quiet),
        )
    show(document, as_json, lambda document: explanation.explanation_text({**document, "notes": []}))
    if document["failed"]:
        ctx.exit(FAILED_IMAGES)
