"""Parameters of heads as text: `svm:C=10,kernel=linear` read into values, and values written so.

Which heads and parameters there are is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from numbers import Real
from typing import Any

from .. import errors

_WORDS = {"true": True, "false": False, "none": None}


def read(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the parameters that `name:parameter=value,parameter=value` holds.

    Raises
    ------
    UsageError
        If it is not of that form, or a parameter is given twice.
    """
    name, colon, rest = text.partition(":")
    if colon and not rest:
        raise errors.UsageError(f"Head {text!r}: parameters are expected after the colon, as in svm:C=10")
    parameters: dict[str, Any] = {}
    for part in re.split(r",(?=\w+=)", rest) if rest else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise errors.UsageError(f"Head {text!r}: {part!r} is not of the form parameter=value.")
        if key in parameters:
            raise errors.UsageError(f"Head {text!r}: {key} is given twice.")
        parameters[key] = _value(value)
    return name, parameters


def write(name: str, parameters: Mapping[str, Any]) -> str:
    """Return the text from which `read` makes these parameters.

    Raises
    ------
    UsageError
        If a value is neither a number, a text, true, false, none nor a list of whole numbers.
    """
    parts = [f"{key}={_written(name, key, value)}" for key, value in parameters.items()]
    return f"{name}:{','.join(parts)}" if parts else name


def _value(text: str) -> Any:
    """Read a parameter's value: a number, true, false, none, 64-32 for a tuple of numbers, else a text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if re.fullmatch(r"\d+([-,]\d+)+", text):
        return tuple(int(number) for number in re.split("[-,]", text))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _written(name: str, key: str, value: Any) -> str:
    whole = isinstance(value, (list, tuple)) and all(type(item) is int and item >= 0 for item in value)
    if whole and len(value):
        return "-".join(map(str, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Real):
        return str(value)
    if isinstance(value, str) and value:
        return str(value)
    raise errors.UsageError(
        f"Head {name!r}: {key} must be a number, a text, true, false, none or a list of whole numbers, "
        f"not {value!r}."
    )
