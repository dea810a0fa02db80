"""The command `icehouse run`: it reads an experiment's file, runs it and shows what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .console import FAILED_IMAGES, debug_option, json_option, note, quiet_option, show

if TYPE_CHECKING:
    from .extract.summary import Summary


@click.command()
@click.argument("file", type=click.Path())
@click.option("--data", type=click.Path(), help="The images, in place of those that FILE names.")
@click.option("-o", "--output", "out", type=click.Path(), help="A folder for the cache and the run.")
@click.option(
    "--print-config", is_flag=True, help="Print FILE with every option and its value, and do nothing else."
)
@click.option(
    "--jobs", type=click.IntRange(1), help="Rounds at once; one per processor unless told. Changes no number."
)
@click.option("--overwrite", is_flag=True, help="Replace another run and report in the same folder.")
@click.option("--trust-model", is_flag=True, help="Run the code that a model file holds; it can do anything.")
@json_option
@quiet_option
@debug_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    file: str,
    data: str | None,
    out: str | None,
    print_config: bool,
    jobs: int | None,
    overwrite: bool,
    trust_model: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run the experiment that FILE describes: extract, classify, report.

    FILE is TOML with sections [data], [extract], [classify] and [output]; its paths are relative to its folder.
    What the cache holds is not computed again, and an interrupted run goes on. Ends with exit code 3 if some
    images failed.
    """
    from . import experiment
    from .report import extraction, progress, results

    chosen = experiment.read(file, data, out)
    if print_config:
        show(chosen.as_dict(), as_json, lambda _: chosen.as_toml().rstrip("\n"))
        return
    say, summaries = note(quiet), list[dict[str, object]]()

    def extracted(summary: Summary) -> None:
        summaries.append(summary.as_dict())
        for text in extraction.remarks(summary.as_dict()):
            say(text)

    with progress.bar("Running", shown=not quiet) as update:
        done = experiment.run(
            chosen,
            jobs=jobs,
            overwrite=overwrite,
            trust_model=trust_model,
            progress=update,
            note=say,
            extracted=extracted,
        )
    page = str(chosen.report) if chosen.report.exists() else None
    texts = [*map(extraction.summary_text, summaries), results.run_tables(done.document)]
    texts += [f"Look at {page}"] if page else []
    document = {**done.document, "extraction": summaries[0] if summaries else None, "report": page}
    show(document, as_json, lambda _: "\n\n".join(texts))
    if summaries and summaries[0]["failed"]:
        ctx.exit(FAILED_IMAGES)
