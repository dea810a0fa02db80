"""How the numbers of results are written: one way, in the terminal and on pages."""

from __future__ import annotations

from typing import Any

UNKNOWN = "–"
"""What stands in the place of a number that is undefined."""


def number_text(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"


def mean_and_std(entry: dict[str, Any]) -> str:
    """Return a metric's mean ± standard deviation over the rounds."""
    if entry["mean"] is None:
        return UNKNOWN
    spread = "" if entry["std"] is None else f" ± {entry['std']:.3f}"
    return f"{entry['mean']:.3f}{spread}"


def mean_with_interval(entry: dict[str, Any]) -> str:
    """Return a metric's mean and 95 % interval."""
    return UNKNOWN if entry["mean"] is None else f"{entry['mean']:.3f}{_in_brackets(entry)}"


def mean_std_and_interval(entry: dict[str, Any]) -> str:
    """Return a metric's mean ± standard deviation, and the 95 % interval of the mean."""
    return f"{mean_and_std(entry)}{_in_brackets(entry)}"


def _in_brackets(entry: dict[str, Any]) -> str:
    return "" if entry["low"] is None else f" ({entry['low']:.3f} to {entry['high']:.3f})"


def interval_text(entry: dict[str, Any]) -> str:
    return UNKNOWN if entry["low"] is None else f"{entry['low']:.4f} to {entry['high']:.4f}"


def difference_text(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:+.4f}"


def p_text(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def share_text(count: int, total: int) -> str:
    """Return a count and its share of a total, such as "52 (74.3%)"."""
    return f"{count} ({count / total:.1%})" if total else str(count)
