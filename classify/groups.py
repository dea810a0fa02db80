"""Rows that belong together, by a common patient or the same image, and what classes such groups hold.

Which side of a split a group goes to is the work of the modules that use these tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache.keys import contents_of


def tied(patient: NDArray[np.str_], content: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number the sets of rows that are tied by a common patient or the same image, directly or through others.

    Parameters
    ----------
    patient : ndarray of str, shape (n,)
        A row without a name is a patient of its own.
    content : ndarray of uint8, shape (n, 32)

    Returns
    -------
    ndarray of int, shape (n,)
        From 0 on in the order in which the sets first occur.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    image = numbered(contents_of(content))
    named = np.flatnonzero(patient != "")
    if not len(named):
        return image
    # Images and patients are the nodes; a row of a named patient is what joins the two.
    person = numbered(patient[named])
    images = int(image.max()) + 1
    nodes = images + int(person.max()) + 1
    ends = (image[named], images + person)
    graph = coo_array((np.ones(len(named), dtype=np.int8), ends), shape=(nodes, nodes))
    _, component = connected_components(graph, directed=False)
    return numbered(component[image])


def numbered(values: NDArray[Any]) -> NDArray[np.int64]:
    """Number equal values alike, from 0 on in the order in which they first occur."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


@dataclass(frozen=True)
class Table:
    """How many rows of each class each group has.

    Groups are numbered by their images' contents, so that the order of the rows decides nothing. Groups with
    the same numbers of rows are of one kind: for balance it is all the same which of them is taken.

    Parameters
    ----------
    of_row : ndarray of int, shape (n,)
        The group of each row.
    kind : ndarray of int, shape (g,)
        The kind of each group.
    rows : ndarray of int, shape (k, c)
        How many rows of each class a group of each kind has.
    groups : ndarray of int, shape (k,)
        How many groups there are of each kind.
    """

    of_row: NDArray[np.int64]
    kind: NDArray[np.int64]
    rows: NDArray[np.int64]
    groups: NDArray[np.int64]

    @property
    def groups_of_class(self) -> NDArray[np.int64]:
        """In how many groups each class is, shape (c,)."""
        return np.asarray(self.groups @ (self.rows > 0), dtype=np.int64)

    @property
    def rows_of_class(self) -> NDArray[np.int64]:
        """How many rows each class has, shape (c,)."""
        return np.asarray(self.groups @ self.rows, dtype=np.int64)

    def shuffled(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return the place of each group among those of its kind in an order by lot, from 0 on, shape (g,)."""
        order = np.lexsort((generator.random(len(self.kind)), self.kind))
        first = np.cumsum(self.groups) - self.groups
        place = np.empty(len(self.kind), dtype=np.int64)
        place[order] = np.arange(len(order)) - first[self.kind[order]]
        return place


def table(groups: NDArray[np.int64], content: NDArray[np.uint8], y: NDArray[np.int64], classes: int) -> Table:
    """Return what classes the groups of rows hold.

    Parameters
    ----------
    groups : ndarray of int, shape (n,)
        Rows of the same content are of the same group.
    content : ndarray of uint8, shape (n, 32)
    y : ndarray of int, shape (n,)
    classes : int
        How many there are.
    """
    by_content = np.argsort(contents_of(content), kind="stable")
    of_row = np.empty(len(groups), dtype=np.int64)
    of_row[by_content] = numbered(groups[by_content])
    count = int(of_row.max(initial=-1)) + 1
    rows = np.bincount(of_row * classes + y, minlength=count * classes).reshape(count, classes)
    kinds, kind, sizes = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    return Table(of_row, kind.reshape(-1), kinds, sizes)
