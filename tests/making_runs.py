"""What tests of pages make: small runs as they are shown, and what is found in their sections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import icehouse
import numpy as np
from icehouse.classify.stored import read_run
from icehouse.report.judged import Judged
from icehouse.report.parts import Columns, Figure, Folded, Section, Table, Words
from making import write_cache


def clouds_cache(
    path: Path, classes: list[str], count: int, *, patients: bool = True, apart: float = 1.2, **given: Any
) -> Path:
    """Write a cache of vectors in as many clouds as there are classes, which overlap; two images a patient."""
    generator = np.random.default_rng(3)
    y = np.arange(count) % len(classes)
    vectors = generator.normal(0, 1, (count, 16))
    vectors[np.arange(count), y] += 2 * apart
    who = [f"p{number // (2 * len(classes))}-{y[number]}" for number in range(count)] if patients else None
    return write_cache(path, vectors.astype(np.float32), [classes[label] for label in y], who, **given)


def judged_run(cache: Path, out: Path, heads: list[Any], **options: Any) -> Judged:
    """Return a run on a cache, as pages show it."""
    icehouse.run_rounds(cache, heads, out=out, **options)
    return judged(out)


def judged(out: Path) -> Judged:
    return Judged(str(out), json.loads((out / "results.json").read_text(encoding="utf-8")), read_run(out))


def parts_of(shown: Any, kind: type) -> Iterator[Any]:
    """Yield the parts of a kind in a section, wherever they are folded in."""
    if isinstance(shown, kind):
        yield shown
    if isinstance(shown, (Section, Folded)):
        for part in shown.parts:
            yield from parts_of(part, kind)
    if isinstance(shown, Columns):
        for _, parts in shown.columns:
            for part in parts:
                yield from parts_of(part, kind)


def figures_of(shown: Any) -> dict[str, Figure]:
    return {figure.name: figure for figure in parts_of(shown, Figure)}


def table_of(shown: Any, caption: str) -> Table:
    """Return the first table whose caption holds some words."""
    return next(table for table in parts_of(shown, Table) if caption in table.caption)


def words_of(shown: Any, kind: str | None = None) -> str:
    return "\n".join(words.text for words in parts_of(shown, Words) if kind in (None, words.kind))


def text_of(cell: Any) -> str:
    return cell if isinstance(cell, str) else str(cell.text)
