"""XGBoost's classifier as plain arrays: its trees, which class each adds to, and where the sums begin.

It is read from the JSON that XGBoost writes [1]_ when a head is fitted. XGBoost itself never sees what a bundle
holds, as a bad index crashes it.

References
----------
.. [1] XGBoost's documentation, "Introduction to Model IO", with its JSON schema.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..classify.training import softmax
from . import trees
from .contents import Contents
from .scorers import Blockwise, Matrix, State, Vectors, apart, both, sigmoid

_OBJECTIVES = ("binary:logistic", "multi:softprob")


def stored(kind: str, estimator: Any) -> State:
    """Return a fitted XGBClassifier.

    Raises
    ------
    BundleError
        If it has other trees than such as split at one number and have one value a leaf, or none.
    """
    booster = estimator.get_booster()
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    boosting = learner["gradient_booster"]
    name, objective = boosting["name"], learner["objective"]["name"]
    if name not in ("gbtree", "dart"):
        raise _refusal(f"booster={name}", "no trees; give gbtree or dart")
    if estimator.missing is not None and np.isfinite(estimator.missing):
        raise _refusal(f"missing={estimator.missing}", "gaps where other heads see numbers; leave it out")
    if objective not in _OBJECTIVES:
        raise _refusal(f"objective={objective}", "no probabilities of classes")
    model = (boosting["gbtree"] if name == "dart" else boosting)["model"]
    if not model["trees"]:
        raise _refusal("n_estimators=0", "no trees; give dummy for the classes' frequencies")
    weights = boosting.get("weight_drop", [1.0] * len(model["trees"]))
    read = [_tree(tree, weight) for tree, weight in zip(model["trees"], weights, strict=True)]
    outputs = max(1, int(learner["learner_model_param"]["num_class"]))
    return {}, {
        **trees.stored(read),
        "head/outputs": np.array(model["tree_info"], dtype=np.int32),
        "head/start": _start(learner["learner_model_param"]["base_score"], outputs),
    }


def _refusal(what: str, why: str) -> errors.BundleError:
    return errors.BundleError(f"A head xgboost with {what} cannot be kept in a bundle: it makes {why}.")


def _tree(tree: dict[str, Any], weight: float) -> trees.Tree:
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise _refusal("multi_strategy=multi_output_tree", "leaves of several values; leave it out")
    if any(tree["split_type"]):
        raise _refusal("categories", "splits that are not at a number")
    conditions = np.array(tree["split_conditions"], dtype=np.float32)  # of a leaf: its value
    return trees.Tree(
        left=np.array(tree["left_children"]),
        right=np.array(tree["right_children"]),
        feature=np.array(tree["split_indices"]),
        threshold=conditions,
        values=(conditions * np.float32(weight))[:, None],
    )


def _start(written: str, outputs: int) -> NDArray[np.float32]:
    """Return what sums begin with, in logits: XGBoost writes one number or several, of two classes a share."""
    given = np.atleast_1d(json.loads(written)).astype(np.float32)
    if outputs == 1:
        given = -np.log(np.float32(1) / given - np.float32(1))
    return np.ascontiguousarray(np.broadcast_to(given, (outputs,)))


def restored(contents: Contents, kind: str, dimensions: int, classes: int) -> Blockwise:
    """Return a scorer that answers as XGBoost does, whose sums are of float32, too, and in the same order."""
    outputs = 1 if classes == 2 else classes
    ensemble = trees.restored(contents, dimensions, 1, "float32")
    output = contents.array("head/outputs", (len(ensemble.roots),), "int32")
    if output.min() < 0 or output.max() >= outputs:
        raise contents.fault(f"a tree adds to a class that {classes} classes do not have")
    start = contents.array("head/start", (outputs,), "float32")
    values = ensemble.leaves[:, 0]

    def logits(X: Vectors) -> NDArray[np.float32]:
        sums = np.repeat(start[:, None], len(X), axis=1)
        for place, leaf in zip(output, ensemble.reached(X), strict=True):
            sums[place] += values[leaf]
        return sums

    def answer(X: Vectors) -> Matrix:
        sums = logits(X)
        return both(sigmoid(sums[0])) if classes == 2 else softmax(sums.T.astype(np.float64))

    def margin(X: Vectors) -> Matrix:
        sums = logits(X).astype(np.float64)
        return apart(sums[0]) if classes == 2 else sums.T

    return Blockwise(contents.path, classes, True, answer, margin, max(dimensions, classes))
