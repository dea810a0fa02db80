"""The command `icehouse report`: it calls one function of `reporting` and says what came of it."""

from __future__ import annotations

import click

from .console import debug_option, json_option, note, quiet_option, show


@click.command()
@click.argument("shown", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(),
    default="report.html",
    show_default=True,
    help="The page to write.",
)
@click.option("--images", type=click.Path(), help="Where the images are, if not near the cache.")
@click.option(
    "--maps/--no-maps",
    default=True,
    help="Show where heads look, for which the network is needed.  [default: yes, if it is installed]",
)
@click.option("--weights", help="The file of the backbone's weights for that, if not found by itself.")
@click.option("--figures", type=click.Path(), help="A folder for each figure as PNG and SVG, too.")
@click.option("--metric", help="What runs are compared by.  [default: that of the first run]")
@click.option("--overwrite", is_flag=True, help="Replace an older page, and older figures.")
@json_option
@quiet_option
@debug_option
def report(
    shown: tuple[str, ...],
    out: str,
    images: str | None,
    maps: bool,
    weights: str | None,
    figures: str | None,
    metric: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write what is to be seen of a run, of several side by side, or of a cache, to one page.

    SHOWN are run folders, or one cache. The page is one HTML file that opens offline. Thumbnails, and maps of
    where heads look, need the images: they are looked for near the cache, and known by their contents.
    """
    from . import reporting
    from .report import progress
    from .report.tables import report_text

    choices = reporting.Choices(images, maps, weights, figures, metric, overwrite)
    with progress.bar("Reporting", shown=not quiet) as update:
        written = reporting.report(shown, out, choices, progress=update, note=note(quiet))
    show(written.as_dict(), as_json, report_text)
