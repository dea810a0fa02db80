"""icehouse: transfer values of frozen CNNs, computed once, kept in HDF5, and judged again and again.

    cache = icehouse.extract_features("data/", "features.h5", backbone="inceptionv3")
    run = icehouse.run_rounds(cache, heads=["mlp", "svm", "xgboost"], rounds=10)
    print(run.table())
    head = icehouse.fit_head(cache, "svm", out="model.head")
    head.predict(["new.png"]).rows

Importing icehouse imports nothing else: its names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .api import ImagesFailed as ImagesFailed
    from .api import extract_features as extract_features
    from .api import open_cache as open_cache
    from .auditing import audit_cache as audit_cache
    from .cache.store import Cache as Cache
    from .errors import IcehouseError as IcehouseError
    from .fitted import FittedHead as FittedHead
    from .fitted import fit_head as fit_head
    from .fitted import load_head as load_head
    from .judging import Run as Run
    from .judging import compare_runs as compare_runs
    from .judging import run_rounds as run_rounds

_HOMES = {
    "Cache": ".cache.store",
    "FittedHead": ".fitted",
    "IcehouseError": ".errors",
    "ImagesFailed": ".api",
    "audit_cache": ".auditing",
    "Run": ".judging",
    "compare_runs": ".judging",
    "extract_features": ".api",
    "fit_head": ".fitted",
    "load_head": ".fitted",
    "open_cache": ".api",
    "run_rounds": ".judging",
}
__all__ = [
    "Cache",
    "FittedHead",
    "IcehouseError",
    "ImagesFailed",
    "Run",
    "__version__",
    "audit_cache",
    "compare_runs",
    "extract_features",
    "fit_head",
    "load_head",
    "open_cache",
    "run_rounds",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module 'icehouse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
