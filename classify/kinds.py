"""The kinds of heads: which estimator each name stands for, with its defaults, its cost and what tuning tries.

How a head is typed, and a user's own estimators, are read in `heads`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Head:
    """One kind of head.

    Parameters
    ----------
    name : str
    description : str
        One line for `icehouse heads`; of a user's own estimator, what it is and its parameters.
    make : callable
        Returns the bare estimator with its defaults.
    probabilities : bool
        Whether its scores are probabilities; if not, loss is undefined.
    cost : int or None
        Its rank by the time of a fit, 1 the quickest; None if it is not to stand for the others in a control.
    grid : dict of str to list
        The values that tuning tries, the default first; empty where there is nothing to tune.
    withheld : tuple of str
        Parameters that cannot be set: they would change what the scores mean, are decided elsewhere (the
        number of threads), or decide nothing here.
    epochs : bool
        Whether it has a `history_` and takes `fit(validation=)`.
    weighs : bool
        Whether `fit` takes `sample_weight`.
    standardized : bool
        Whether it is given standardized vectors (and reduced ones, where that is asked for).
    identity : str
        Tells two estimators of the user's own apart; see `identity.identity`.
    """

    name: str
    description: str
    make: Callable[[], Any]
    probabilities: bool = True
    cost: int | None = None
    grid: dict[str, list[Any]] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()
    epochs: bool = False
    weighs: bool = True
    standardized: bool = True
    identity: str = ""


def _mlp() -> Any:
    from .mlp import MLP

    return MLP()


def _mlp_bn() -> Any:
    from .mlp_bn import BatchNormMLP

    return BatchNormMLP()


def _pyramid() -> Any:
    from .pyramid import Pyramid

    return Pyramid()


def _svm() -> Any:
    from .svm import SVM

    return SVM()


def _knn() -> Any:
    from .knn import KNN

    return KNN()


def _lda() -> Any:
    from .lda import LDA

    return LDA()


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)


def _forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_jobs=1)


def _xgboost() -> Any:
    """Make XGBoost's classifier with settings for many columns and few rows, 9 to 28 times as fast as its own.

    XGBoost's defaults → these, means of the same ten splits of 70/30, grouped where patients are known; seconds
    of one thread for a fit, on a machine that was busy otherwise:

    ============================  =============  =================  =============  ===========
    vectors                       accuracy       balanced accuracy  ROC-AUC        seconds
    ============================  =============  =================  =============  ===========
    X-rays, 1124×1280, 3 classes  0.769 → 0.775  0.735 → 0.750      0.909 → 0.914  21.4 → 1.01
    of them covid and normal      0.954 → 0.964  0.886 → 0.911      0.987 → 0.991  1.84 → 0.20
    CT, 746×1280, 2 classes       0.733 → 0.746  0.731 → 0.744      0.819 → 0.827  5.38 → 0.25
    drawn, 252×2048, 2 classes    0.846 → 0.874  0.846 → 0.874      0.917 → 0.944  1.63 → 0.18
    drawn, 1124×2048, 3 classes   0.899 → 0.939  0.899 → 0.939      0.981 → 0.992  47.4 → 1.71
    ============================  =============  =================  =============  ===========

    On the real vectors the differences lie within what differs from split to split (standard deviations of 0.03
    to 0.04 in balanced accuracy). XGBoost's defaults are
    `xgboost:n_estimators=100,max_depth=6,max_bin=256,colsample_bynode=1`.
    """
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=70, max_depth=3, max_bin=16, colsample_bynode=0.1, n_jobs=1)


def _dummy() -> Any:
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior")


_RATES = [1e-3, 1e-4]
_RUNNING = ("n_jobs", "verbose", "warm_start")

HEADS: dict[str, Head] = {
    head.name: head
    for head in (
        Head(
            "mlp",
            "64-32 MLP with ReLU and softmax, Adam, 100 epochs (the TRV paper's)",
            _mlp,
            cost=6,
            grid={"hidden": [(64, 32), (128, 64)], "learning_rate": _RATES},
            epochs=True,
        ),
        Head(
            "mlp-bn",
            "256 units between batch normalization and dropout of one half, Adam, 100 epochs (Asaddorian's)",
            _mlp_bn,
            cost=9,
            grid={"learning_rate": _RATES},
            epochs=True,
        ),
        Head(
            "svm",
            "support vector machine with an RBF kernel",
            _svm,
            probabilities=False,
            cost=2,
            grid={"C": [1.0, 0.1, 10.0, 100.0]},
        ),
        Head(
            "xgboost",
            "gradient-boosted trees by XGBoost: 70 rounds, depth 3, 16 bins, a tenth of the columns a node",
            _xgboost,
            cost=7,
            grid={"max_depth": [3, 6], "learning_rate": [0.3, 0.1]},
            withheld=(
                *("base_score", "callbacks", "early_stopping_rounds", "enable_categorical", "feature_types"),
                *("n_jobs", "objective", "verbosity"),
            ),
        ),
        Head(
            "logistic",
            "logistic regression, L2",
            _logistic,
            cost=4,
            grid={"C": [1.0, 0.1, 0.01, 0.001]},
            withheld=(
                *("dual", "intercept_scaling", "l1_ratio", "multi_class", "penalty", "random_state", "solver"),
                *_RUNNING,
            ),
        ),
        Head(
            "knn",
            "nearest neighbours by cosine",
            _knn,
            cost=1,
            grid={"n_neighbors": [5, 1, 3, 9, 15]},
            weighs=False,
        ),
        Head(
            "lda",
            "linear discriminant analysis, shrunk by Ledoit and Wolf's lemma",
            _lda,
            cost=3,
            grid={"shrinkage": ["auto", 0.1, 0.3, 0.6, 0.9]},
            weighs=False,
        ),
        Head(
            "forest",
            "random forest of 100 trees",
            _forest,
            cost=8,
            grid={"min_samples_leaf": [1, 3], "max_features": ["sqrt", 0.1]},
            withheld=("oob_score", *_RUNNING),
        ),
        Head(
            "pyramid",
            "dropout and a dense layer on each layer's vector, joined; not a trained feature pyramid network",
            _pyramid,
            cost=5,
            grid={"learning_rate": _RATES},
            epochs=True,
        ),
        Head(
            "dummy",
            "the classes' frequencies, whatever the vectors: what any head must beat",
            _dummy,
            withheld=("constant", "random_state", "strategy"),
        ),
    )
}


def defaults(head: Head) -> dict[str, Any]:
    """Return the parameters of a head with their defaults, those left out that their library decides."""
    parameters = head.make().get_params()
    shown = {k: v for k, v in parameters.items() if v is not None and k not in head.withheld}
    return {k: v for k, v in shown.items() if v == v}  # a parameter that is not a number stands for unset
