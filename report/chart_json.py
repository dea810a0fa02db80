"""Plotly's figures as plain data for a page or a drawing: short numbers, and texts that stay texts."""

from __future__ import annotations

import base64
import math
import re
from typing import Any

import numpy as np

from .parts import Figure

_MARKUP = re.compile(r"<(?!/?(?:b|i|br|sub|sup|extra) ?/?>)", re.IGNORECASE)
"""Every "<" but those of the markup that figures use on purpose; `<extra>` is Plotly's own, in hover texts."""


def chart(figure: Figure) -> dict[str, Any]:
    """Return the data and the layout of a figure, as plotly.js takes them.

    Numbers have six digits, which no screen shows more of. Plotly reads a part of HTML in texts; all of it but
    line breaks, bold, italics, subscripts and superscripts is written so that it is seen and not obeyed,
    wherever in the figure it came from: whoever makes a figure escapes no names of files and no labels.

    Parameters
    ----------
    figure : Figure

    Returns
    -------
    dict
        Keys data and layout; only what JSON knows, with None for numbers that are not finite. Plotly's default
        template is left out: the page has its own.
    """
    drawn = figure.plot.to_plotly_json()
    layout = {name: value for name, value in drawn["layout"].items() if name != "template"}
    return {"data": _plain(drawn["data"]), "layout": _plain(layout)}


def shown(text: str) -> str:
    """Return a text so that Plotly shows it as it is, but for the markup that figures use on purpose."""
    return _MARKUP.sub("&lt;", text)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        if "bdata" in value:
            return _numbers(value)
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return _short(value)
    return value


def _numbers(packed: dict[str, Any]) -> Any:
    """Return an array that Plotly has packed: whole numbers as they are, others as a list of short ones.

    Six digits in decimals take less room than sixteen in base64, and are what the reader is shown: a packed
    single-precision 0.1 would read 0.10000000149.
    """
    if packed["dtype"][0] != "f":
        return packed
    flat = np.frombuffer(base64.b64decode(packed["bdata"]), dtype=packed["dtype"])
    shape = [int(size) for size in str(packed.get("shape", flat.size)).split(",")]
    return _plain(flat.reshape(shape).tolist())


def _short(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
