"""What every command shares: how mistakes end, how results and messages are shown, options of several commands.

The commands themselves are in `cli` and, for a group of them, beside their package.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import click

from . import errors

FAILED_IMAGES = 3
INTERRUPTED = 130


class Group(click.Group):
    """A group that turns mistakes into one sentence and an exit code; `--debug` shows the traceback instead."""

    def invoke(self, ctx: click.Context) -> Any:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # to be stopped is to be tidied up after
        try:
            return super().invoke(ctx)
        except errors.IcehouseError as error:
            if ctx.meta.get("icehouse.debug"):
                raise
            return _fail(ctx, str(error), error.exit_code)
        except KeyboardInterrupt:
            return _fail(ctx, "Interrupted. Every file that was written is whole.", INTERRUPTED)
        except OSError as error:
            if ctx.meta.get("icehouse.debug") or isinstance(error, BrokenPipeError):
                raise
            where = f" ({error.filename})" if error.filename else ""
            return _fail(ctx, f"{error.strerror or error}{where}.", 1)


def _fail(ctx: click.Context, message: str, exit_code: int) -> NoReturn:
    click.echo(message if exit_code == INTERRUPTED else f"Error: {message}", err=True)
    ctx.exit(exit_code)


def _debug(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta["icehouse.debug"] = True  # shared by a command and its groups


debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_debug, help="Show the traceback of an error."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
quiet_option = click.option("--quiet", is_flag=True, help="No progress and no messages.")


def anonymize_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options `--anonymize` and `--keep-column`."""
    command = click.option(
        "--keep-column",
        "keep_columns",
        multiple=True,
        help="With --anonymize: a column of your own that is kept; may be repeated.",
    )(command)
    return click.option(
        "--anonymize",
        is_flag=True,
        help="Replace paths, patients and contents by random pseudonyms, and drop columns of your own.",
    )(command)


def preparation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say what the network sees of a picture."""
    command = click.option(
        "--size", help="Height and width in pixels, or native.  [default: the backbone's own]"
    )(command)
    command = click.option(
        "--resize", default="stretch", show_default=True, help="stretch, pad or crop to a square."
    )(command)
    return click.option(
        "--intensity",
        help="How a file's numbers become grey values: full, max, voi, percentile:LOW,HIGH, "
        "window:CENTER,WIDTH, lung, mediastinum, bone, or three windows A/B/C.  [default: by kind of file]",
    )(command)


def new_images_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say how images that a head meets for the first time are prepared."""
    options = [
        click.option("--frames", help="Which slices of a volume or series.  [default: as in training]"),
        click.option(
            "--weights", help="The backbone's weights or model file, where it is not found by itself."
        ),
        click.option("--engine", default="auto", show_default=True, help="keras, openvino or auto."),
        click.option("--trust-model", is_flag=True, help="Run the code that a model file holds."),
        click.option("--batch-size", type=click.IntRange(1), help="Changes no vector."),
        click.option(
            "--workers", type=click.IntRange(1), help="Threads that decode; one per processor unless told."
        ),
        click.option("--root", type=click.Path(), help="What a manifest's paths are relative to."),
        click.option(
            "--labels", type=click.Path(), help="A CSV file (path, label, patient, ...) beside the data."
        ),
        click.option("--accept-drift", is_flag=True, help="Go on although the network's results have drifted."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def show(document: Any, as_json: bool, as_text: Callable[[Any], str]) -> None:
    """Print a result, as JSON if asked for."""
    click.echo(json.dumps(document, ensure_ascii=False, allow_nan=False) if as_json else as_text(document))


def note(quiet: bool) -> Callable[[str], None]:
    """Return what says a message on stderr, above the progress bar if there is one."""
    return (lambda text: None) if quiet else (lambda text: print(text, file=sys.stderr))
