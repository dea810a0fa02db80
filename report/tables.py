"""Results as text: the tables that the terminal shows and `Run.table()` returns."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

DISCLAIMER = "Research software, not a medical device: never base a diagnosis or treatment on it."

HEADINGS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "npv": "NPV",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
}
"""The metrics in the order of the columns, and what each column is headed."""


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


def rounds_table(document: dict[str, Any], head: str) -> str:
    """Return one head's rounds as the TRV paper shows them: a row a round, then average, worst and better."""
    metrics = document["heads"][head]
    rows: list[Sequence[str] | None] = [
        [str(number + 1), *(_number(metrics[name]["rounds"][number]) for name in HEADINGS)]
        for number in range(document["rounds"])
    ]
    rows.append(None)
    for label, key in (("average", "mean"), ("worst", "worst"), ("better", "best")):
        rows.append([label, *(_number(metrics[name][key]) for name in HEADINGS)])
    table = text_table(head, ["round", *HEADINGS.values()], rows)
    return "\n".join([table, *_undefined(metrics), "", confusion_table(document, head)])


def confusion_table(document: dict[str, Any], head: str) -> str:
    """Return one head's confusion matrices summed over rounds, as counts and shares of each true class."""
    matrix = document["confusion"][head]["sum"]
    judgements = sum(map(sum, matrix))
    rows = []
    for name, counts in zip(document["classes"], matrix, strict=True):
        total = sum(counts)
        cells = [f"{count} ({count / total:.1%})" if total else str(count) for count in counts]
        rows.append([name, *cells])
    title = f"{head}: {judgements} judgements of {document['rows']} images over {document['rounds']} rounds"
    return text_table(title, ["true class", *(f"as {name}" for name in document["classes"])], rows)


def summary_table(document: dict[str, Any]) -> str:
    """Return all heads side by side: mean ± standard deviation of each metric over the rounds."""
    heads = document["heads"]
    rows = [
        [heading, *(_mean_and_std(metrics[name]) for metrics in heads.values())]
        for name, heading in HEADINGS.items()
    ]
    count = document["rounds"]
    title = f"Mean ± standard deviation over {count} round{'s' if count != 1 else ''}; {_about(document)}"
    return text_table(title, ["", *heads], rows)


def run_tables(document: dict[str, Any]) -> str:
    """Return everything that `icehouse classify` shows: a table a head, the summary, the disclaimer."""
    parts = [rounds_table(document, head) for head in document["heads"]]
    return "\n\n".join([*parts, summary_table(document), DISCLAIMER])


def _about(document: dict[str, Any]) -> str:
    unit = f"grouped by {document['patients']} patients" if document["grouped"] else "no patients known"
    if document["positive"] is not None:
        return f"{unit}, positive class: {document['positive']}"
    return f"{unit}, {len(document['classes'])} classes (one against the rest, averaged)"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _mean_and_std(entry: dict[str, Any]) -> str:
    if entry["mean"] is None:
        return "–"
    spread = "" if entry["std"] is None else f" ± {entry['std']:.3f}"
    return f"{entry['mean']:.3f}{spread}"


def _undefined(metrics: dict[str, Any]) -> list[str]:
    """Say why there is a dash in the table."""
    notes = []
    for name, heading in HEADINGS.items():
        entry = metrics[name]
        if "defined" in entry:
            count = f"{entry['defined']} of {len(entry['rounds'])} rounds"
            notes.append(f"  {heading}: defined in {count}: {entry['reason']}")
    return notes


def heads_text(heads: list[dict[str, Any]]) -> str:
    """Return what `icehouse heads` shows."""
    lines = []
    for head in heads:
        parameters = ", ".join(f"{name}={plain_text(value)}" for name, value in head["parameters"].items())
        lines.append(f"{head['name']}: {head['description']}\n  {parameters}")
    return "\n".join(lines)


def demo_text(made: dict[str, Any]) -> str:
    """Return where `icehouse demo` put everything, and what to try next."""
    rows = [
        [what, str(made[name])]
        for name, what in (
            ("images", "images, and what is known of them"),
            ("external_images", "images of another scanner"),
            ("features", "transfer values"),
            ("external_features", "transfer values, other scanner"),
        )
        if name in made
    ]
    rows.append(["run", str(made["run"].path)])
    width = max(len(what) for what, _ in rows)
    command = f"icehouse classify {made['features']} -o another-run --head svm:C=10 --head mlp"
    places = "\n".join(f"  {what:<{width}}  {where}" for what, where in rows)
    return f"\nWhere everything is:\n{places}\nTry next: {command}"


def plain_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain_text(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return "-".join(map(str, value))
    return "none" if value is None else str(value)


def size_text(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
