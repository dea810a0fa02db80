"""A map of the vectors: each image a point near those that the network finds alike, coloured by its class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import colours
from .charts import plain
from .parts import Figure, Part, Section, Words
from .tables import counted

TITLE = "Map of the vectors"
MOST = 3000
"""Points that a map has at most: a page stays quick with them, and their t-SNE took 14 s."""

_COMPONENTS = 50
"""What vectors are reduced to before t-SNE, as its authors do (van der Maaten and Hinton 2008, section 4.2)."""
_PERPLEXITY = 30.0
_ITERATIONS = 500
"""On 1,124 chest X-rays 1,000 took twice as long, and no more of the nearest neighbours shared their class."""
_LEAST, _LEAST_FOR_TSNE = 3, 12
_LEAST_OF_A_CLASS = 10
_GROUPS = 8
"""Classes or origins that have a colour of their own; the rarer ones share one."""
_OTHERS = "others"

_WHAT_TSNE_IS = (
    "t-SNE puts images beside each other whose vectors are near each other. Which groups there are can be read "
    "from it; how large they are, and how far apart, means little (van der Maaten and Hinton, Visualizing Data "
    "using t-SNE, Journal of Machine Learning Research 9, 2008). Principal components (PCA) keep distances, as "
    "far as two directions can."
)


@dataclass(frozen=True)
class Points:
    """What is put on a map; arrays have one element (or row) per point.

    Parameters
    ----------
    vectors : ndarray of float, shape (n, d)
    label : ndarray of str, shape (n,)
    names : tuple of str
        What is written under the picture of each.
    thumbnails : tuple of bytes
        The picture of each; none at all where there are none.
    total : int
        How many there were to draw from.
    origin : tuple of (str, ndarray of str), optional
        A column that goes with the class, and its values.
    """

    vectors: NDArray[np.floating[Any]]
    label: NDArray[np.str_]
    names: tuple[str, ...]
    thumbnails: tuple[bytes, ...]
    total: int
    origin: tuple[str, NDArray[np.str_]] | None = None


class _Plane(NamedTuple):
    """Where the points are: names for its file and reader, coordinates, what the axes are called."""

    name: str
    title: str
    places: NDArray[np.float32]
    axes: tuple[str, str]


def drawn(label: NDArray[np.str_], most: int = MOST) -> NDArray[np.intp]:
    """Return which rows are put on a map: all, or so many of each class as is its share, always the same."""
    if len(label) <= most:
        return np.arange(len(label))
    generator = np.random.default_rng(0)
    kept = []
    names = np.unique(label)
    least = min(_LEAST_OF_A_CLASS, most // len(names))
    for name, count in zip(*np.unique(label, return_counts=True), strict=True):
        wanted = max(int(most * count / len(label)), min(int(count), least))
        kept.append(generator.permutation(np.flatnonzero(label == name))[:wanted])
    return np.sort(generator.permutation(np.concatenate(kept))[:most])


def vectors_map(points: Points) -> Section:
    """Return the map of some vectors, by t-SNE and by principal components, coloured by class and by origin."""
    count = len(points.vectors)
    reduced = _reduced(points.vectors) if count >= _LEAST else None
    if reduced is None:
        what = f"{count} vectors are too few for a map." if count < _LEAST else "All vectors are the same."
        return Section(TITLE, (Words(what),))
    planes = [_components(*reduced)]
    if count >= _LEAST_FOR_TSNE:
        planes.insert(0, _neighbourhoods(reduced[0]))
    drawn_from = "" if count == points.total else f", drawn from {points.total:,} by the share of each class"
    parts: list[Part] = [Words(_WHAT_TSNE_IS, "note")] if len(planes) > 1 else []
    for number, plane in enumerate(planes):
        parts.append(_figure(points, plane, "class", points.label, "", drawn_from))
        if points.origin is not None and number == 0:
            column, values = points.origin
            parts.append(_figure(points, plane, column, values, "-by-origin", drawn_from))
    return Section(TITLE, tuple(parts))


def _reduced(vectors: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return leading principal components of standardized vectors, (n, k), and their shares of the variance.

    None where all vectors are the same.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    standardized = StandardScaler().fit_transform(vectors.astype(np.float64))
    if not np.any(standardized.std(axis=0) > 0):
        return None
    analysis = PCA(min(_COMPONENTS, *standardized.shape), random_state=0)
    scores = np.asarray(analysis.fit_transform(standardized))
    if scores.shape[1] == 1:  # vectors of one number
        scores = np.column_stack([scores, np.zeros(len(scores))])
    return scores, np.append(analysis.explained_variance_ratio_, 0.0)


def _components(scores: NDArray[np.float64], shares: NDArray[np.float64]) -> _Plane:
    axes = (f"component 1, {shares[0]:.0%} of the variance", f"component 2, {shares[1]:.0%} of the variance")
    return _Plane("pca", "Principal components", scores[:, :2].astype(np.float32), axes)


def _neighbourhoods(scores: NDArray[np.float64]) -> _Plane:
    """Return the t-SNE of some components: the same for the same numbers, whatever the number of processors."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(_PERPLEXITY, (len(scores) - 1) / 3)
    method = TSNE(2, perplexity=perplexity, init="pca", max_iter=_ITERATIONS, random_state=0)
    with threadpool_limits(1):  # its threads wait for each other more than they work: 3.5 s, and 20 s with two
        places = np.asarray(method.fit_transform(scores), dtype=np.float32)
    return _Plane("tsne", "Neighbourhoods (t-SNE)", places, ("", ""))


def _figure(
    points: Points, plane: _Plane, what: str, values: NDArray[np.str_], suffix: str, drawn_from: str
) -> Figure:
    import plotly.graph_objects as go

    groups = _groups(values)
    plot = go.Figure()
    for number, (name, rows) in enumerate(groups):
        style = colours.style(number)
        plot.add_scatter(
            x=plane.places[rows, 0],
            y=plane.places[rows, 1],
            mode="markers",
            name=plain(name),
            marker={"color": style.colour, "symbol": style.symbol, "size": 7, "opacity": 0.75},
            customdata=[[row] for row in rows.tolist()],
            hovertemplate="%{fullData.name}<extra></extra>",
        )
    axis = {"zeroline": False, "showticklabels": bool(plane.axes[0])}
    plot.update_layout(
        height=560,
        legend={"title": {"text": what}, "orientation": "h", "x": 0, "y": -0.08, "yanchor": "top"},
        xaxis={**axis, "title": {"text": plane.axes[0]}},
        yaxis={**axis, "title": {"text": plane.axes[1]}},
    )
    shown = f"{counted(len(values), 'image')}{drawn_from}"
    numbers = ", ".join(f"{len(rows):,} {name}" for name, rows in groups)
    known = values != ""
    near = (
        f"Of those of a known {what}, {_alike(plane.places, values):.0%} have a nearest point of the same."
        if known.any()
        else f"No {what} is known."
    )
    return Figure(
        name=f"vectors-{plane.name}{suffix}",
        title=f"{plane.title}, coloured by {what}",
        alt=f"Scatter plot of {shown}: {numbers}. {near}",
        plot=plot,
        caption=f"{shown}. {near}",
        thumbnails=points.thumbnails,
        names=points.names if points.thumbnails else (),
    )


def _groups(values: NDArray[np.str_]) -> list[tuple[str, NDArray[np.intp]]]:
    """Return the rows of each value, by name; the rarest of very many together, as are those without one."""
    counts = Counter(values.tolist())
    known = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if name]
    own = sorted(known[:_GROUPS] if len(known) <= _GROUPS else known[: _GROUPS - 1])
    groups = [(name, np.flatnonzero(values == name)) for name in own]
    if len(own) < len(known):
        rest = np.flatnonzero(np.isin(values, known[len(own) :]))
        groups.append((f"{_OTHERS} ({len(known) - len(own)})", rest))
    if "" in counts:
        groups.append(("unknown", np.flatnonzero(values == "")))
    return groups


def tells_apart(values: NDArray[np.str_]) -> bool:
    """Tell whether most of the known values are so few different ones that each can have a colour."""
    counts = Counter(value for value in values.tolist() if value)
    return 2 * sum(count for _, count in counts.most_common(_GROUPS - 1)) > counts.total()


def _alike(places: NDArray[np.float32], values: NDArray[np.str_]) -> float:
    """Return the share of points of a known value whose nearest other point has the same."""
    from scipy.spatial import KDTree

    nearest = KDTree(places).query(places, k=2)[1]
    rows = np.arange(len(places))
    other = np.where(
        nearest[:, 0] == rows, nearest[:, 1], nearest[:, 0]
    )  # of equal places, either may be first
    return float(np.mean((values[other] == values)[values != ""]))
