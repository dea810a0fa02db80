"""Which of the packages that icehouse wants are installed, in versions that suit it and one another.

Nothing is imported: the packages' own metadata tell. What to make of it is `doctor`'s work.
"""

from __future__ import annotations

import importlib.metadata as metadata
from collections.abc import Iterator
from dataclasses import dataclass, field

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

NAME = "icehouse"
ALWAYS = ""
"""The name under which the packages go that are wanted without any extra."""


@dataclass(frozen=True)
class Extra:
    """The packages of one extra.

    Parameters
    ----------
    name : str
        As in `pip install 'icehouse[name]'`; `ALWAYS` for what everything needs.
    present : dict of str to str
        The version of each package that is installed and suits.
    missing : list of str
        What is not installed, as wanted: `keras>=3.8`.
    unsuited : dict of str to str
        The version of what is installed in one that does not suit, by what is wanted.
    """

    name: str
    present: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unsuited: dict[str, str] = field(default_factory=dict)


def extras() -> dict[str, Extra]:
    """Return what icehouse wants and what of it is installed, by extra.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        If icehouse itself runs from a folder and is not installed.
    """
    names = [ALWAYS, *sorted(metadata.metadata(NAME).get_all("Provides-Extra") or [])]
    found = {}
    for name in names:
        extra = found[name] = Extra(name)
        for wanted in _wanted(name):
            version = _version(wanted.name)
            if version is None:
                extra.missing.append(_plain(wanted))
            elif _suits(version, wanted):
                extra.present[wanted.name] = version
            else:
                extra.unsuited[_plain(wanted)] = version
    return found


def conflicts() -> list[str]:
    """Return a sentence for each installed package of ours that wants another version of one beside it."""
    ours = {wanted.name for name in extras() for wanted in _wanted(name)}
    found = []
    for name in sorted(ours, key=canonicalize_name):
        if _version(name) is None:
            continue
        for wanted in _requirements(name, ALWAYS):
            version = _version(wanted.name)
            if version is not None and not _suits(version, wanted):
                found.append(f"{name} {_version(name)} wants {_plain(wanted)}, and {version} is installed")
    return found


def _wanted(extra: str, seen: frozenset[str] = frozenset()) -> list[Requirement]:
    """Return what one extra wants, the extras that it names in turn resolved."""
    found: dict[str, Requirement] = {}
    for wanted in _requirements(NAME, extra):
        if canonicalize_name(wanted.name) == NAME:
            inner = [name for name in sorted(wanted.extras) if name not in seen]
            resolved = [own for name in inner for own in _wanted(name, seen | {extra})]
        else:
            resolved = [wanted]
        found.update({own.name: own for own in resolved})
    return list(found.values())


def _requirements(distribution: str, extra: str) -> Iterator[Requirement]:
    """Yield what an installed distribution wants on this machine: always, or because of one extra alone."""
    for text in metadata.requires(distribution) or []:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue  # somebody else's package, described in a way that nobody reads any more
        always = _holds(wanted, ALWAYS)
        if always if extra == ALWAYS else not always and _holds(wanted, extra):
            yield wanted


def _holds(wanted: Requirement, extra: str) -> bool:
    return wanted.marker is None or wanted.marker.evaluate({"extra": extra})


def _suits(version: str, wanted: Requirement) -> bool:
    try:
        return wanted.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True  # built by hand and numbered freely


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _plain(wanted: Requirement) -> str:
    return f"{wanted.name}{wanted.specifier}"
