"""Progress on stderr: a bar where a person is looking, nothing where output goes to a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def bar(description: str, *, shown: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Yield a function to call with the number done, the total and a few words more.

    Parameters
    ----------
    description : str
    shown : bool
        Whether to draw at all; a bar is drawn on a terminal only.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda done, total, words: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=None, words="")

        def update(done: int, total: int, words: str) -> None:
            progress.update(task, completed=done, total=total, words=words)

        yield update


def extraction_words(progress: Any) -> str:
    """Return images/s and each stage's share of the time, from an `extract.extraction.Progress`."""
    clock = progress.clock
    stages = {name: getattr(clock, name) for name in ("decode", "network", "write")}
    busy = sum(stages.values())
    if not progress.computed or not busy:
        return ""
    shares = ", ".join(f"{name} {seconds / busy:.0%}" for name, seconds in stages.items())
    failed = f", {progress.failed} failed" if progress.failed else ""
    return f"{progress.computed / clock.seconds:.1f} images/s ({shares}){failed}"
