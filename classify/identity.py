"""What a user's own estimator is, told from its parameters: two of one name are not taken for one another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def identity(estimator: Any) -> str:
    """Return the SHA-256 of an estimator's class and parameters, those of estimators within it, too.

    Unlike scikit-learn's `repr` it leaves nothing out, and has no addresses of memory in it, so that another
    process finds the same.
    """
    return hashlib.sha256(json.dumps(_told(estimator), sort_keys=True).encode()).hexdigest()


def _told(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float, bool)):
        return repr(value)
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value)
        told = data.tolist() if data.dtype.hasobject else hashlib.sha256(data.tobytes()).hexdigest()
        return ["array", str(data.dtype), list(data.shape), _told(told)]
    if isinstance(value, Mapping):
        return [[_told(key), _told(item)] for key, item in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [type(value).__name__, [_told(item) for item in value]]
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if hasattr(value, "get_params"):
        return [_told(type(value)), _told(dict(sorted(value.get_params(deep=False).items())))]
    if hasattr(value, "__code__"):  # a function: what it does, wherever it is defined
        code = value.__code__
        names = [value.__qualname__, code.co_code.hex(), repr(code.co_names)]
        return [*names, [_told(item) for item in code.co_consts if not hasattr(item, "co_code")]]
    if hasattr(value, "__qualname__"):
        return f"{getattr(value, '__module__', '')}.{value.__qualname__}"
    return [_told(type(value)), _told(getattr(value, "__dict__", None) or repr(value))]
