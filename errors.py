"""Every exception that icehouse raises on purpose, and the exit code each one ends a command with.

Nothing else lives here. An error's text is one sentence for each of: what happened, to which file or row,
and what to do about it; the command line prints the text and no traceback.

IcehouseError                    1  something failed, with one clear message
    UsageError                   2  wrong usage (also ValueError)
    SourceError                  1  the data named as input cannot be used (also ValueError)
    ImageError                   -  one image cannot be read: listed, never fatal (also ValueError)
    MissingDependency            1  an optional package is not installed (also ImportError)
    WeightsError                 1  weights that do not fit, are damaged or are not what they claim
        WeightsNotFound          1  no such weights on this machine (also FileNotFoundError)
    CacheError                   1  a cache cannot be read or written
        CacheNotFound            1  no such cache (also FileNotFoundError)
        CacheDamaged             1  not a cache, a truncated or altered one, or of a newer format
        CacheLocked              1  another process is writing to it
        CacheIncomplete          1  samples are still pending
        CacheAnonymized          1  a cache that names nobody was to be added to
        RecipeMismatch           1  vectors of two recipes were about to be mixed
        MergeConflict            1  two caches say different things of one image
        CanaryDrift              1  this machine's network no longer computes what the cache holds
    OutputExists                 1  an output would be overwritten (also FileExistsError)
    DiskFull                     1  no room for what was to be written (also OSError)
    ClassesError                 1  labels, classes or patients do not allow what was asked (also ValueError)
    HeadError                    1  a head refused its parameters or the data
    RunError                     1  a run folder cannot be read or resumed
    BundleError                  1  a bundle cannot be made, read or used on these data
        BundleDamaged            1  not a bundle, a damaged or altered one, or of a newer format
    TrainingOverlap              1  training images or patients are among what a head is to be judged on
    Interrupted                130  stopped by the user; says what is safe
"""

from __future__ import annotations


class IcehouseError(Exception):
    """Base of every error that icehouse raises on purpose."""

    exit_code = 1


class UsageError(IcehouseError, ValueError):
    exit_code = 2


class SourceError(IcehouseError, ValueError):
    pass


class ImageError(IcehouseError, ValueError):
    """One image that cannot become a vector.

    Parameters
    ----------
    stage : {"read", "decode", "frames", "intensity", "resize", "network"}
        Where it failed; written to the cache's failures table.
    reason : str
        Why, in a few words.
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(reason)
        self.stage = stage
        self.reason = reason


class MissingDependency(IcehouseError, ImportError):
    pass


class WeightsError(IcehouseError):
    pass


class WeightsNotFound(WeightsError, FileNotFoundError):
    pass


class CacheError(IcehouseError):
    pass


class CacheNotFound(CacheError, FileNotFoundError):
    pass


class CacheDamaged(CacheError):
    pass


class CacheLocked(CacheError):
    pass


class CacheIncomplete(CacheError):
    pass


class CacheAnonymized(CacheError):
    pass


class RecipeMismatch(CacheError):
    pass


class MergeConflict(CacheError):
    pass


class CanaryDrift(CacheError):
    pass


class OutputExists(IcehouseError, FileExistsError):
    pass


class DiskFull(IcehouseError, OSError):
    pass


class ClassesError(IcehouseError, ValueError):
    pass


class HeadError(IcehouseError):
    pass


class RunError(IcehouseError):
    pass


class BundleError(IcehouseError):
    pass


class BundleDamaged(BundleError):
    pass


class TrainingOverlap(IcehouseError):
    pass


class Interrupted(IcehouseError):
    exit_code = 130
