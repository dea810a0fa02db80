"""The JSON document of a bundle as text: what it may hold, and how one from a stranger is read.

What its fields mean, and what each of them must be, is `contents`' and its callers' affair.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from .. import errors
from ..cache import layout

LONGEST = 2_000_000
"""Bytes; large things are arrays."""

_MOST = 50_000
"""Values, each of which takes far more memory than its text does."""

_DEEPEST = 32
_LONGEST_NUMBER = 64
"""Digits; the time to read a whole number grows with the square of its digits."""
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What overrides the direction of a text, so that it reads as another one (Unicode's annex 9, section 2)."""


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a document as JSON, the same for equal documents.

    Raises
    ------
    BundleError
        If no reader would accept it.
    """
    if fault := _fault_of(document):
        raise errors.BundleError(f"This cannot be kept in a bundle: {fault}.")
    text = json.dumps(document, allow_nan=False, ensure_ascii=False, sort_keys=True).encode()
    if len(text) > LONGEST:
        raise errors.BundleError(
            f"This cannot be kept in a bundle: what describes it takes {len(text):,} bytes of JSON, and "
            f"{LONGEST:,} are allowed."
        )
    if _count(text) > _MOST:
        raise errors.BundleError(
            f"This cannot be kept in a bundle: it is described by more than {_MOST:,} values."
        )
    return text


def decode(text: bytes) -> dict[str, Any]:
    """Return the document that a text of at most `LONGEST` bytes stands for.

    Raises
    ------
    ValueError
        If it is not a JSON object, or holds what no bundle's does; it says what.
    """
    if _count(text) > _MOST:
        raise ValueError(f"it holds more than {_MOST:,} values")
    try:
        document = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_fraction,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError:
        raise ValueError("it is not valid UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON, from character {error.pos} on") from None
    except RecursionError:
        raise ValueError(f"it is nested deeper than {_DEEPEST} levels") from None
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")
    if fault := _fault_of(document):
        raise ValueError(fault)
    return document


def _count(text: bytes) -> int:
    """Return how many values a JSON text holds at most, before any of them is made."""
    return 1 + sum(text.count(mark) for mark in (b",", b"[", b"{"))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):  # which one counts would depend on the reader
        raise ValueError("it names a field twice")
    return values


def _whole(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def _fraction(digits: str) -> float:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return float(digits)


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"it holds {constant}, which is no number of JSON's")


def _fault_of(document: Mapping[str, Any]) -> str | None:
    """Return why a bundle could not hold this document, or None if it can."""
    waiting: list[tuple[Any, int]] = [(document, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str):
            if fault := fault_of_text(value):
                return f"one of its texts {fault}"
        elif isinstance(value, float) and not math.isfinite(value):
            return "it holds a number that is infinite or none"
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            return "it holds a whole number that takes more than 64 bits"
        elif isinstance(value, Mapping | list | tuple):
            if depth > _DEEPEST:
                return f"it is nested deeper than {_DEEPEST} levels"
            inside = [*value, *value.values()] if isinstance(value, Mapping) else value
            waiting.extend((item, depth + 1) for item in inside)
    return None


def fault_of_text(text: str) -> str | None:
    """Return why a bundle could not hold a text, which may be shown on a terminal, or None if it can."""
    if fault := layout.fault_of(text):
        return fault
    if not text.isascii() and any(
        character in _REORDERING or unicodedata.category(character) in ("Zl", "Zp") for character in text
    ):
        return "holds characters that break lines or reverse the direction of reading"
    return None
