"""Decision trees as plain arrays, walked by NumPy: all rows through all trees at once, level by level.

Nodes are numbered from the root on, level after level, so that the children of a tree's inner node k, both
counted from 0, are its nodes 2k + 1 and 2k + 2. Where they are need not be stored then, and no file can send
anybody in a circle. What the values of leaves mean is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .contents import Contents
from .scorers import Vectors

LEVELS = 1000
"""Of a tree, at most: a chain of a million nodes would take every row a million steps of Python's."""
_STEPS = 2**20
"""Pairs of a row and a tree that are walked at once."""


@dataclass(frozen=True)
class Tree:
    """A fitted tree as its library numbers it, the root first.

    Parameters
    ----------
    left, right : ndarray of int, shape (n_nodes,)
        The children of each node, -1 of a leaf.
    feature : ndarray of int, shape (n_nodes,)
    threshold : ndarray of float32, shape (n_nodes,)
        What is below it goes left, all else right.
    values : ndarray of float, shape (n_nodes, width)
        Used of leaves only.
    """

    left: NDArray[np.integer[Any]]
    right: NDArray[np.integer[Any]]
    feature: NDArray[np.integer[Any]]
    threshold: NDArray[np.float32]
    values: NDArray[np.floating[Any]]


def stored(trees: Iterable[Tree]) -> dict[str, NDArray[Any]]:
    """Return the arrays of trees, which must be one or more and alike in the width of their values.

    Returns
    -------
    dict
        "head/trees/nodes" (n_trees,) int32: how many nodes each tree has; "head/trees/feature" (all nodes,)
        int32: what an inner node looks at, -1 of a leaf; "head/trees/threshold" (inner nodes,) float32 and
        "head/trees/leaves" (all leaves, width), in the nodes' order.

    Raises
    ------
    BundleError
        If a tree is too deep.
    """
    counts, features, thresholds, leaves = [], [], [], []
    for tree in trees:
        order = _by_level(tree)
        inner = tree.left[order] >= 0
        counts.append(len(order))
        features.append(np.where(inner, tree.feature[order], -1).astype(np.int32))
        thresholds.append(tree.threshold[order[inner]])
        leaves.append(tree.values[order[~inner]])
    return {
        "head/trees/nodes": np.array(counts, dtype=np.int32),
        "head/trees/feature": np.concatenate(features),
        "head/trees/threshold": np.concatenate(thresholds),
        "head/trees/leaves": np.concatenate(leaves),
    }


def _by_level(tree: Tree) -> NDArray[np.intp]:
    """Return the nodes that can be reached, level after level: those that pruning has cut off are left out."""
    levels = [np.zeros(1, dtype=np.intp)]
    while len(inner := levels[-1][tree.left[levels[-1]] >= 0]):
        if len(levels) > LEVELS:
            raise errors.BundleError(
                f"A tree of more than {LEVELS} levels cannot be kept in a bundle; give the head a max_depth."
            )
        levels.append(np.column_stack([tree.left[inner], tree.right[inner]]).ravel().astype(np.intp))
    return np.concatenate(levels)


@dataclass(frozen=True)
class Trees:
    """Trees ready to be walked, their nodes numbered through.

    Parameters
    ----------
    roots : ndarray of int, shape (n_trees,)
    child : ndarray of int, shape (n_nodes,)
        The left child of an inner node, its right one being the next; 0 of a leaf.
    feature : ndarray of int, shape (n_nodes,)
    threshold : ndarray of float32, shape (n_nodes,)
    leaf : ndarray of int, shape (n_nodes,)
        Which row of `leaves` belongs to a leaf.
    leaves : ndarray of float, shape (n_leaves, width)
    """

    roots: NDArray[np.intp]
    child: NDArray[np.intp]
    feature: NDArray[np.intp]
    threshold: NDArray[np.float32]
    leaf: NDArray[np.intp]
    leaves: NDArray[np.floating[Any]]

    def reached(self, X: Vectors) -> Iterator[NDArray[np.intp]]:
        """Yield for each tree, in order, the row of `leaves` that each row of X falls to, shape (n,).

        Raises
        ------
        BundleError
            If numbers of X are too large for float32, in which trees compare: their libraries refuse them, too.
        """
        single = np.ascontiguousarray(X, dtype=np.float32)
        if not np.isfinite(single).all():
            raise errors.BundleError(
                "The vectors hold numbers too large for float32, which trees cannot judge."
            )
        at_once = max(1, _STEPS // max(1, len(single)))
        for start in range(0, len(self.roots), at_once):
            yield from self._walked(single, self.roots[start : start + at_once])

    def _walked(self, X: NDArray[np.float32], roots: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return what each tree and row ends at, shape (n_trees, n)."""
        rows, dimensions = X.shape
        numbers = X.ravel()
        node = np.repeat(roots, rows)
        first = np.tile(np.arange(rows) * dimensions, len(roots))
        walking = np.flatnonzero(self.child[node])
        while len(walking):
            here = node[walking]
            right = numbers[first[walking] + self.feature[here]] >= self.threshold[here]
            here = self.child[here] + right
            node[walking] = here
            walking = walking[self.child[here] > 0]
        return self.leaf[node].reshape(len(roots), rows)


def restored(contents: Contents, dimensions: int, width: int, dtype: str) -> Trees:
    """Return the trees that a bundle holds.

    Parameters
    ----------
    contents : Contents
    dimensions : int
        The length of vectors.
    width : int
        How many values a leaf has.
    dtype : str
        Of these values.

    Raises
    ------
    BundleDamaged
        If there is no tree, or if these are no whole trees on such vectors.
    """
    counts = contents.array("head/trees/nodes", (None,), "int32").astype(np.int64)
    if not len(counts) or counts.min() < 1:
        raise contents.fault("there is no tree, or one without a node")
    feature = contents.array("head/trees/feature", (int(counts.sum()),), "int32").astype(np.intp)
    if feature.min() < -1 or feature.max() >= dimensions:
        raise contents.fault(f"a tree looks at a feature that vectors of {dimensions} numbers do not have")
    inner = feature >= 0
    thresholds = contents.array("head/trees/threshold", (int(inner.sum()),), "float32")
    leaves = contents.array("head/trees/leaves", (int((~inner).sum()), width), dtype)
    ends = np.cumsum(counts)
    roots = ends - counts
    inner_before: NDArray[np.intp] = np.cumsum(inner) - inner
    inner_of_tree = np.diff(np.append(inner_before[roots], inner.sum()))
    number: NDArray[np.intp] = inner_before - np.repeat(inner_before[roots], counts)  # k, of inner nodes
    place = np.arange(len(feature)) - np.repeat(roots, counts)
    # A node must come before its children, and every node but the root must be a child.
    if not (counts == 2 * inner_of_tree + 1).all() or not (place <= 2 * number)[inner].all():
        raise contents.fault("the nodes of a tree do not form a tree")
    child = np.where(inner, np.repeat(roots, counts) + 2 * number + 1, 0)
    _check_levels(contents, roots, child)
    threshold = np.zeros(len(feature), dtype=np.float32)
    threshold[inner] = thresholds
    leaf = np.cumsum(~inner) - 1
    return Trees(roots, child, feature, threshold, leaf, leaves)


def _check_levels(contents: Contents, roots: NDArray[np.intp], child: NDArray[np.intp]) -> None:
    nodes = roots
    for _ in range(LEVELS + 1):
        left = child[nodes][child[nodes] > 0]
        if not len(left):
            return
        nodes = np.concatenate([left, left + 1])
    raise contents.fault(f"a tree has more than {LEVELS} levels")
