"""`icehouse audit`: what is wrong with the data behind a cache, as text, JSON and a page with the pictures.

Everything but click is imported inside the command, so that `icehouse --help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .console import debug_option, json_option, note, quiet_option, show

FOUND = 4


@click.command()
@click.argument("cache", type=click.Path(path_type=Path))
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    help="A second cache, such as an external test set, that should share nothing with the first.",
)
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), help="A page with pictures to write.")
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="With -o: where the image files are.  [default: looked for beside the cache and here]",
)
@click.option(
    "--labels", type=click.Path(), help="A CSV file (path, label, patient, ...) in place of the cache's."
)
@click.option("--layer", help="Whose vectors.  [default: the first]")
@click.option(
    "--strict",
    is_flag=True,
    help="Exit code 4 if there are copies, leaks, patients of several classes, doubtful labels or confounding.",
)
@click.option("--overwrite", is_flag=True, help="Replace an older page.")
@json_option
@quiet_option
@debug_option
@click.pass_context
def audit(
    ctx: click.Context,
    /,
    cache: Path,
    against: Path | None,
    out: Path | None,
    images: Path | None,
    overwrite: bool,
    strict: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Look for copies, leaks, doubtful labels, outliers and confounding in the data behind CACHE.

    Vectors are enough: neither network nor images are needed. With --strict it ends with exit code 4 if
    anything is found but outliers and columns that raise no alarm.
    """
    from . import auditing, errors, reporting
    from .report import audit as texts
    from .report import progress

    if images is not None and out is None:
        raise errors.UsageError("--images goes with -o PAGE: pictures are shown on the page.")
    choices = reporting.Choices(images=images, overwrite=overwrite)
    if out is not None:
        reporting.check(out, choices)  # before anything is computed
    with progress.bar("Comparing", shown=not quiet) as update:
        document = auditing.audit_cache(
            cache, against=against, progress=lambda done, total: update(done, total, ""), **options
        )
    if out is not None:
        reporting.report_audit(document, out, choices)
        note(quiet)(f"Written: {out}")
    show(document, as_json, texts.audit_text)
    if strict and document["anything"]:
        ctx.exit(FOUND)
