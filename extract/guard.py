"""What stands between a damaged file and the user: every error of a decoder has one form, and nothing prints.

Decoders raise whatever they meet, and pydicom, nibabel, tifffile and Pillow warn of it besides, through
`logging` and `warnings`. Those belong to the whole process: so they are silenced for these libraries alone, and
only while at least one thread decodes.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
from PIL import UnidentifiedImageError

from .. import errors
from .picture import reason_of

_LIBRARIES = ("pydicom", "nibabel", "tifffile", "PIL", "png")
_FROM_THEM = rf"({'|'.join(_LIBRARIES)})(\.|$)"

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")


def guarded(decoder: Callable[[_Argument], _Result], argument: _Argument) -> _Result:
    """Call a decoder; whatever it raises on a damaged file becomes an `ImageError`, and nothing is printed.

    Raises
    ------
    ImageError
    MissingDependency
        If the library that reads such files is not installed.
    """
    try:
        with _quiet(), np.errstate(all="ignore"):  # numbers of damaged files may be any
            return decoder(argument)
    except errors.ImageError:
        raise
    except ImportError as error:
        raise errors.MissingDependency(
            f"Reading this kind of image needs {error.name}: pip install 'icehouse[extract]'."
        ) from None
    except UnidentifiedImageError:
        raise errors.ImageError("decode", "not an image of a known format") from None
    except MemoryError:
        raise errors.ImageError("decode", "not enough memory") from None
    except Exception as error:  # decoders raise whatever they meet in damaged files
        raise errors.ImageError("decode", reason_of(error)) from None


_lock = threading.Lock()
_decoding = 0  # how many threads are
_restore: list[Callable[[], Any]] = []


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the libraries while any thread is in here.

    `warnings.catch_warnings` would not do: it swaps the list of all filters, and the thread that leaves last
    puts back the list that the others had changed.
    """
    global _decoding
    with _lock:
        _decoding += 1
        if _decoding == 1:
            _silence()
    try:
        yield
    finally:
        with _lock:
            _decoding -= 1
            while not _decoding and _restore:
                _restore.pop()()


def _silence() -> None:
    before = list(warnings.filters)
    warnings.filterwarnings("ignore", module=_FROM_THEM)
    _restore.extend(partial(_take_out, item) for item in warnings.filters if item not in before)
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        _restore.append(partial(logger.setLevel, logger.level))
        logger.setLevel(logging.CRITICAL + 1)


def _take_out(added: Any) -> None:
    if added in warnings.filters:
        warnings.filters.remove(added)  # type: ignore[attr-defined]
