"""The rules by which the slices of a patient become one answer; `patients` applies them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from .. import errors

RULES = "any, fraction:F (such as fraction:0.1), mean, max or auto"
AUTO = "auto"
_SHARE = re.compile(r"fraction:([0-9]?(?:\.[0-9]{1,20})?)")


@dataclass(frozen=True)
class Rule:
    """How slices become one answer.

    Parameters
    ----------
    text : str
        As typed.
    kind : {"any", "fraction", "mean", "max", "auto"}
    fraction : Fraction or None
        The share of the selected slices that must be positive, exactly as its decimal digits say; for the kind
        "fraction" only.
    """

    text: str
    kind: str
    fraction: Fraction | None = None

    @property
    def counts(self) -> bool:
        """Whether positive slices are counted, so that there must be two classes and a positive one."""
        return self.kind in ("any", "fraction", AUTO)

    def check(self, positive: int | str | None) -> None:
        """Raise `UsageError` if the rule needs a positive class and there is none."""
        if self.counts and positive is None:
            raise errors.UsageError(
                f"The rule {self.text} counts positive slices, so it needs two classes, one of them positive. "
                "Use mean or max for more classes."
            )


def parse(text: str) -> Rule:
    """Return the rule that `any`, `fraction:F` with 0 < F ≤ 1, `mean`, `max` or `auto` names.

    `any` and fractions are the two thresholds of COVID-CTset (M. Rahimzadeh, A. Attar and S. M. Sakhaei,
    Biomedical Signal Processing and Control 68 (2021)): at least one positive slice, and a tenth of the slices.

    Raises
    ------
    UsageError
        For anything else.
    """
    if isinstance(text, str):
        if text in ("any", "mean", "max", AUTO):
            return Rule(text, text)
        found = _SHARE.fullmatch(text)
        if found and found[1]:
            share = Fraction(found[1])
            if 0 < share <= 1:
                return Rule(text, "fraction", share)
    if isinstance(text, str) and text.startswith("fraction"):
        raise errors.UsageError(
            f"The rule {text!r} names no share of the slices: it must lie above 0 and be 1 at most, with up to "
            "20 decimals, such as fraction:0.1."
        )
    raise errors.UsageError(f"There is no rule {text!r}; there are {RULES}.")
