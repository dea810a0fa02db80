"""Which of two classes is the positive one."""

from __future__ import annotations

import re

from .. import errors

_NEGATIVE = re.compile(
    r"(normal|negative|neg|healthy|controls?|nofindings?|none|absent|non[ _-]?\w.*|(no|not)[ _-]\w.*)",
    re.IGNORECASE,
)


def positive_class(classes: tuple[str, ...], given: str | None) -> int | None:
    """Return the index of the positive class of two, or None if there are more.

    Unless given, it is the class that is not called normal, negative, healthy, control, no finding or
    non-something; the alphabet decides nothing.

    Raises
    ------
    UsageError
        If the class given is none of `classes`, or there are more than two.
    ClassesError
        If the names do not tell.
    """
    if given is not None:
        if given not in classes:
            raise errors.UsageError(f"--positive {given}: no such class; there are {', '.join(classes)}.")
        if len(classes) > 2:
            raise errors.UsageError(f"--positive needs two classes; there are {len(classes)}.")
        return classes.index(given)
    if len(classes) > 2:
        return None
    positives = [index for index, name in enumerate(classes) if not _NEGATIVE.fullmatch(name.strip())]
    if len(positives) != 1:
        raise errors.ClassesError(
            f"Which of {classes[0]!r} and {classes[1]!r} is the positive class cannot be told from the names: "
            f"say it with --positive, such as --positive {classes[0]}"
        )
    return positives[0]
