"""The heads by name: which estimator each is, and how `svm:C=10` is read.

Every head is a scikit-learn estimator; scaling, where a head needs it, is a step before it and so is fitted on
the training part only.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import errors


@dataclass(frozen=True)
class Head:
    """One kind of head.

    Parameters
    ----------
    name : str
    description : str
        One line for `icehouse heads`.
    make : callable
        Returns the bare estimator with its defaults.
    scaled : bool
        Whether vectors are standardized before it.
    probabilities : bool
        Whether its scores are probabilities; if not, loss is undefined.
    withheld : tuple of str
        Parameters that would change what its scores mean, and so cannot be set.
    """

    name: str
    description: str
    make: Callable[[], Any]
    scaled: bool
    probabilities: bool
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spec:
    """A head as typed: its name in results, its kind and its parameters."""

    text: str
    head: Head
    parameters: dict[str, Any]

    def build(self, seed: int) -> Any:
        """Return an unfitted estimator, a pipeline where vectors are scaled first."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        estimator = self.head.make().set_params(**self.parameters)
        if "random_state" in estimator.get_params() and "random_state" not in self.parameters:
            estimator.set_params(random_state=seed)
        return make_pipeline(StandardScaler(copy=False), estimator) if self.head.scaled else estimator


def _mlp() -> Any:
    from .mlp import MLP

    return MLP()


def _svm() -> Any:
    from sklearn.svm import SVC

    return SVC()


def _xgboost() -> Any:
    """Make XGBoost's classifier with 32 bins for 256: five times as fast on vectors, equally good within noise.

    Ten rounds on the X-rays of benchmarks/rounds.py: accuracy 0.766 ± 0.02 against 0.775, ROC-AUC 0.908 against
    0.910. One thread each, as rounds run side by side.
    """
    from xgboost import XGBClassifier

    return XGBClassifier(max_bin=32, n_jobs=1)


HEADS: dict[str, Head] = {
    head.name: head
    for head in (
        Head("mlp", "64-32 MLP with ReLU and softmax, Adam, 100 epochs (the TRV paper's)", _mlp, True, True),
        Head(
            "svm",
            "support vector machine with an RBF kernel",
            _svm,
            True,
            False,
            ("decision_function_shape", "probability"),
        ),
        Head("xgboost", "gradient-boosted trees, XGBoost's defaults but 32 bins", _xgboost, False, True),
    )
}


def parse(text: str) -> Spec:
    """Return what `mlp` or `svm:C=10,kernel=linear` means.

    Raises
    ------
    UsageError
        If there is no such head or it has no such parameter; the message names the nearest.
    """
    name, colon, rest = text.partition(":")
    if name not in HEADS:
        raise errors.UsageError(f"There is no head {name!r}.{_nearest(name, HEADS)} Known: {', '.join(HEADS)}.")
    if colon and not rest:
        raise errors.UsageError(f"Head {text!r}: parameters are expected after the colon, as in svm:C=10")
    known = sorted(set(HEADS[name].make().get_params()) - set(HEADS[name].withheld))
    parameters: dict[str, Any] = {}
    for part in re.split(r",(?=\w+=)", rest) if rest else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise errors.UsageError(f"Head {text!r}: {part!r} is not of the form parameter=value.")
        if key not in known:
            raise errors.UsageError(
                f"Head {name!r} has no parameter {key!r}.{_nearest(key, known)} Known: {', '.join(known)}."
            )
        if key in parameters:
            raise errors.UsageError(f"Head {text!r}: {key} is given twice.")
        parameters[key] = _value(value)
    return Spec(text, HEADS[name], parameters)


def parse_all(texts: list[str]) -> list[Spec]:
    """Return the heads of a run, each named once."""
    if not texts:
        raise errors.UsageError("No head was named; see: icehouse heads")
    repeated = [text for index, text in enumerate(texts) if text in texts[:index]]
    if repeated:
        raise errors.UsageError(f"Head {repeated[0]!r} is named twice.")
    return [parse(text) for text in texts]


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _value(text: str) -> Any:
    """Read a parameter's value: a number, true, false, none, 64-32 for a tuple of numbers, else a text."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    if re.fullmatch(r"\d+([-,]\d+)+", text):
        return tuple(int(number) for number in re.split("[-,]", text))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def defaults(head: Head) -> dict[str, Any]:
    """Return the parameters of a head with their defaults, those left out that their library decides."""
    parameters = head.make().get_params()
    shown = {k: v for k, v in parameters.items() if v is not None and k not in head.withheld}
    return {k: v for k, v in shown.items() if v == v}  # a parameter that is not a number stands for unset
