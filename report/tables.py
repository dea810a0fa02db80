"""Text tables, and what several commands say in words; the results of a run are in `results`."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

DISCLAIMER = "Research software, not a medical device: never base a diagnosis or treatment on it."


def text_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str] | None]) -> str:
    """Return a table as plain text; a row that is None draws a line."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(escape(heading), justify="right" if number else "left", no_wrap=True)
    for row in rows:
        if row is None:
            table.add_section()
        else:
            table.add_row(*(escape(cell) for cell in row))
    out = io.StringIO()
    Console(file=out, width=1000, color_system=None, force_terminal=False).print(table)
    lines = [title, *(line.rstrip() for line in out.getvalue().splitlines())]
    return "\n".join(line for line in lines if line)


def heads_text(heads: list[dict[str, Any]]) -> str:
    """Return what `icehouse heads` shows."""
    lines = []
    for head in heads:
        parameters = ", ".join(f"{name}={plain_text(value)}" for name, value in head["parameters"].items())
        lines.append(f"{head['name']}: {head['description']}\n  {parameters}")
    return "\n".join(lines)


def report_text(written: dict[str, Any]) -> str:
    """Return what `icehouse report` says when the page is there."""
    lines = [f"{written['report']}: {size_text(written['bytes'])}, opens in any browser, offline"]
    if written["figures"]:
        lines.append(f"{counted(len(written['figures']), 'figure')} in {written['folder']}")
    return "\n".join([*lines, DISCLAIMER])


def demo_text(made: dict[str, Any]) -> str:
    """Return where `icehouse demo` put everything, and what to try next."""
    rows = [
        [what, str(made[name])]
        for name, what in (
            ("images", "images, and what is known of them"),
            ("external_images", "images of another scanner"),
            ("features", "transfer values"),
            ("external_features", "transfer values, other scanner"),
            ("bundle", "a fitted head"),
            ("predictions", "what it says of the other scanner's images"),
            ("explanations", "where it looks in some of them"),
            ("report", "the run to look at, in a browser"),
        )
        if name in made
    ]
    rows.append(["run", str(made["run"].path)])
    width = max(len(what) for what, _ in rows)
    command = f"icehouse classify {made['features']} -o another-run --head svm:C=10 --head mlp"
    places = "\n".join(f"  {what:<{width}}  {where}" for what, where in rows)
    looks = (
        "Where a head looks in pictures unlike its own, as another scanner's, need not be the lesion:\n"
        f"  compare {made['external_images'].parent / 'lesions.csv'}\n"
        if "explanations" in made
        else ""
    )
    return f"\nWhere everything is:\n{places}\n{looks}Try next: {command}"


def plain_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain_text(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return "-".join(map(str, value))
    return "none" if value is None else str(value)


def counted(count: int, noun: str) -> str:
    """Return a number and what it counts, such as "2 images"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size_text(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
