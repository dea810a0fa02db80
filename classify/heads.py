"""Heads as they are asked for: `svm:C=10`, a dict that says the same, or an estimator of the user's own.

Every head is a scikit-learn estimator. Standardization is no part of it: whoever fits one standardizes first,
on the training part only, once for all heads.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import errors
from . import parameters as texts
from .identity import identity
from .kinds import HEADS, Head, defaults

__all__ = ["HEADS", "Head", "Spec", "defaults", "parse", "parse_all"]


@dataclass(frozen=True)
class Spec:
    """A head as typed: its name in results, its kind and its parameters."""

    text: str
    head: Head
    parameters: dict[str, Any]

    @property
    def seeded(self) -> bool:
        """Whether a fit depends on its seed at all."""
        if not self.head.standardized:  # a user's own may draw from anywhere
            return True
        return any(key not in self.head.withheld for key in _unset_seeds(self._bare()))

    def estimator(self, seed: int, widths: tuple[int, ...] | None = None) -> Any:
        """Return the bare, unfitted estimator.

        Parameters
        ----------
        seed : int
            Its random state, and that of estimators within it, unless set otherwise.
        widths : tuple of int, optional
            How many numbers of a vector each layer has, for an estimator that wants to know.
        """
        estimator = self._bare()
        estimator.set_params(**dict.fromkeys(_unset_seeds(estimator), seed))
        if widths is not None and estimator.get_params(deep=False).get("widths", widths) is None:
            estimator.set_params(widths=widths)
        return estimator

    def build(self, seed: int, reduce: int | None = None, widths: tuple[int, ...] | None = None) -> Any:
        """Return an unfitted pipeline that works alone: standardization, PCA if asked for, the estimator.

        A user's own estimator is given the vectors as they are, so that it stands in the pipeline alone.

        Parameters
        ----------
        seed : int
        reduce : int, optional
            Components of a PCA.
        widths : tuple of int, optional
        """
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        before: list[Any] = [StandardScaler()] if self.head.standardized else []
        if self.head.standardized and reduce is not None:
            before.append(PCA(reduce, random_state=seed))
        return make_pipeline(*before, self.estimator(seed, widths))

    def check(self) -> None:
        """Raise `UsageError` if the estimator refuses the parameters, naming the one that it refuses.

        A head without parameters is not tried, nor is a user's own: either is known to work, or what it
        wants of the data is not known.
        """
        from .trial import refusal

        if self.parameters and (reason := refusal(self.head.make, self.parameters)) is not None:
            raise errors.UsageError(f"Head {self.text!r}: {reason}")

    def _bare(self) -> Any:
        return self.head.make().set_params(**self.parameters)


def parse(text: str) -> Spec:
    """Return what `mlp` or `svm:C=10,kernel=linear` means.

    Raises
    ------
    UsageError
        If there is no such head or it has no such parameter; the message names the nearest.
    """
    name, parameters = texts.read(text)
    if name not in HEADS:
        raise errors.UsageError(f"There is no head {name!r}.{_nearest(name, HEADS)} Known: {', '.join(HEADS)}.")
    head = HEADS[name]
    known = sorted(set(head.make().get_params()) - set(head.withheld)) if parameters else []
    for key in parameters:
        if key not in known:
            raise errors.UsageError(
                f"Head {name!r} has no parameter {key!r}.{_nearest(key, known)} "
                + (f"Known: {', '.join(known)}." if known else "It has none.")
            )
    return Spec(text, head, parameters)


def parse_all(heads: Iterable[Any]) -> list[Spec]:
    """Return the heads of a run, each named once.

    Parameters
    ----------
    heads : iterable
        Of texts, such as "svm:C=10"; of dicts that say the same, `{"name": "svm", "C": 10}`; and of estimators
        of one's own, or pairs of a name and an estimator.

    Raises
    ------
    UsageError
        If there is none, one is named twice, or one cannot be understood.
    """
    if isinstance(heads, (str, Mapping)):
        raise errors.UsageError(f"heads must be a list, such as [{heads!r}].")
    if isinstance(heads, str):
        raise errors.UsageError(f"Heads are given as a list, such as [{heads!r}].")
    specs = [_spec(head) for head in heads]
    if not specs:
        raise errors.UsageError("No head was named; see: icehouse heads")
    named = [spec.text for spec in specs]
    for index, spec in enumerate(specs):
        if spec.text in named[:index]:
            own = " Give your own estimators names: (name, estimator)." if not spec.head.standardized else ""
            raise errors.UsageError(f"Head {spec.text!r} is named twice.{own}")
    return specs


def _spec(head: Any) -> Spec:
    if isinstance(head, str):
        return parse(head)
    if isinstance(head, Mapping):
        if not isinstance(head.get("name"), str):
            raise errors.UsageError(f"A head's table needs its name, as in {{name = 'svm', C = 10}}: {head!r}")
        return parse(texts.write(head["name"], {key: value for key, value in head.items() if key != "name"}))
    if isinstance(head, Sequence) and len(head) == 2 and isinstance(head[0], str) and head[0]:
        return _own(head[0], head[1])
    return _own(type(head).__name__, head)


def _own(name: str, estimator: Any) -> Spec:
    """Return the specification of a user's estimator, which is copied and never changed."""
    from sklearn.base import clone
    from sklearn.utils.validation import has_fit_parameter

    from .trial import scoring

    if isinstance(estimator, type):
        raise errors.UsageError(
            f"Head {estimator.__name__} is a class; give an estimator made of it: {estimator.__name__}()"
        )
    if not (hasattr(estimator, "fit") and _classifies(estimator)):
        raise errors.UsageError(
            f"Head {name!r} is no classifier of scikit-learn's kind: {type(estimator).__name__}."
        )
    try:
        kept = clone(estimator)
        parameters = kept.get_params(deep=True)
    except (TypeError, RuntimeError) as error:
        raise errors.UsageError(
            f"Head {name!r} cannot be copied by scikit-learn's clone, which every round needs: {error}"
        ) from error
    answers = scoring(kept)
    if answers is None:
        raise errors.UsageError(
            f"Head {name!r} needs predict_proba or decision_function; {type(estimator).__name__} has neither."
        )
    probabilities = answers == "predict_proba"
    pairwise = [
        key
        for key, value in parameters.items()
        if key.split("__")[-1] == "decision_function_shape" and value == "ovo"
    ]
    if not probabilities and pairwise:
        raise errors.UsageError(f"Head {name!r} scores pairs of classes: set decision_function_shape to 'ovr'.")
    head = Head(
        name,
        " ".join(repr(kept).split()),
        lambda: clone(kept),
        probabilities=probabilities,
        weighs=has_fit_parameter(kept, "sample_weight"),
        standardized=False,
        identity=identity(kept),
    )
    return Spec(name, head, {})


def _classifies(estimator: Any) -> bool:
    """Return whether an estimator says that it is a classifier; regressors and detectors of outliers do not."""
    from sklearn.base import is_classifier

    try:
        return bool(is_classifier(estimator))
    except (AttributeError, TypeError):  # not of scikit-learn's kind at all
        return False


def _unset_seeds(estimator: Any) -> list[str]:
    """Return the parameters that hold a random state nobody set, its own and those of estimators within."""
    return [
        key
        for key, value in sorted(estimator.get_params(deep=True).items())
        if key.split("__")[-1] == "random_state" and value is None
    ]


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
