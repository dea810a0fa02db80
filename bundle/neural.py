"""The neural heads as plain arrays: mlp, mlp-bn and pyramid, rebuilt as the estimators that they were."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from .contents import Contents, Fields
from .scorers import Blockwise, State

Shapes = list[tuple[int, ...]]


def stored(kind: str, estimator: Any) -> State:
    """Return a fitted MLP, BatchNormMLP or Pyramid."""
    arrays = {f"head/weights/{number}": array for number, array in enumerate(estimator.weights_)}
    if kind == "pyramid":
        widths = estimator.widths or (estimator.n_features_in_,)
        return {"widths": [int(width) for width in widths]}, arrays
    hidden = estimator.hidden if isinstance(estimator.hidden, (tuple, list)) else (estimator.hidden,)
    return {"hidden": [int(units) for units in hidden]}, arrays


def restored(contents: Contents, kind: str, dimensions: int, classes: int) -> Blockwise:
    """Return a scorer of one of these heads."""
    fields = contents.fields("head_state")
    head, shapes = (_pyramid if kind == "pyramid" else _mlp)(fields, kind, dimensions, classes)
    # Whatever sizes the document names, nothing is made of them that the arrays do not have.
    head.weights_ = [contents.array(f"head/weights/{number}", shape) for number, shape in enumerate(shapes)]
    head.classes_, head.n_features_in_ = np.arange(classes), dimensions
    if kind == "mlp-bn" and any(head.weights_[number].min() < 0 for number in (3, 9)):
        raise contents.fault("a variance is negative")
    widest = max(length for shape in shapes for length in shape)
    return Blockwise(contents.path, classes, True, head.predict_proba, head.logits, widest, head.gradients)


def _mlp(fields: Fields, kind: str, dimensions: int, classes: int) -> tuple[Any, Shapes]:
    from ..classify.mlp import MLP
    from ..classify.mlp_bn import BatchNormMLP

    hidden = fields.wholes("hidden", 1)
    if not hidden or (kind == "mlp-bn" and len(hidden) != 1):
        raise fields.fault(f"there are {len(hidden)} hidden layers")
    shapes: Shapes = []
    for inputs, units in pairwise((dimensions, *hidden, classes)):
        if kind == "mlp-bn":
            shapes += [(inputs,)] * 4
        shapes += [(inputs, units), (units,)]
    return (BatchNormMLP(hidden=hidden[0]) if kind == "mlp-bn" else MLP(hidden=hidden)), shapes


def _pyramid(fields: Fields, kind: str, dimensions: int, classes: int) -> tuple[Any, Shapes]:
    from ..classify.pyramid import Pyramid

    widths = fields.wholes("widths", 1)
    if sum(widths) != dimensions:
        raise fields.fault(f"widths sum to {sum(widths)} of {dimensions} numbers")
    shapes: Shapes = [shape for width in widths for shape in ((width, classes), (classes,))]
    shapes += [(len(widths) * classes, classes), (classes,)]
    return Pyramid(widths=widths), shapes
