"""A page by hand with everything that a page can hold, hostile names too."""

from __future__ import annotations

import io

import numpy as np
from icehouse.report.parts import (
    Cell,
    Columns,
    Figure,
    Folded,
    Gallery,
    Page,
    Picture,
    Section,
    Table,
    Words,
)
from PIL import Image

HOSTILE = (
    "<script>window.hit = 1</script>",
    "</script><img src=x onerror='window.hit = 1'>",
    '<a href="javascript:window.hit = 1">press</a>',
    "\"' onmouseover='window.hit = 1' x=\"",
    "{{ 7 * 7 }} ${7 * 7} <!-- -->",
    "\u202egnp.tset\u202c",
    "very-long-unbroken-" + "x" * 300,
)
"""What nobody should call a class or a file; nothing of it may be obeyed."""

POINTS = 12


def picture(number: int, size: int = 48) -> bytes:
    """Return a small JPEG, another one for each number."""
    shades = np.random.default_rng(number).integers(0, 255, (size, size), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(shades).save(file, "JPEG")
    return file.getvalue()


def map_figure(name: str = "map", names: tuple[str, ...] = HOSTILE) -> Figure:
    """Return a map of points with a picture each; the first are called by `names`."""
    import plotly.graph_objects as go

    called = [*names, *(f"{number}.png" for number in range(len(names), POINTS))]
    angle = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    plot = go.Figure(
        go.Scatter(
            x=2 * np.cos(angle),
            y=2 * np.sin(angle),
            mode="markers",
            marker={"size": 12},
            name=names[0],
            showlegend=True,
            customdata=[[number, name] for number, name in enumerate(called)],
            hovertemplate="%{customdata[1]}<extra></extra>",
        )
    )
    plot.update_xaxes(title="component 1", range=[-3, 3])
    plot.update_yaxes(title="component 2", range=[-3, 3])
    thumbnails = tuple(picture(number) for number in range(POINTS))
    return Figure(
        name,
        f"Map {names[0]}",
        "Twelve points on a circle.",
        plot,
        "Each is an image.",
        thumbnails,
        tuple(called),
    )


def confusion_figure(name: str = "confusion", labels: tuple[str, str] = HOSTILE[:2]) -> Figure:
    """Return a heat map of two classes."""
    import plotly.graph_objects as go

    plot = go.Figure(go.Heatmap(z=[[30, 4], [6, 40]], x=labels, y=labels, texttemplate="%{z}"))
    plot.update_layout(height=300)
    return Figure(name, "Confusion", f"30 of 34 {labels[0]} and 40 of 46 {labels[1]} are right.", plot)


def table() -> Table:
    """Return a table that sorts differently by text, by number and by what stands behind a cell."""
    return Table(
        f"Heads, judged on {HOSTILE[0]}",
        ("head", "accuracy", "seconds", "mean ± std", "a heading that is rather long for so narrow a column"),
        (
            ("svm", Cell("0.91", 0.9123), "9", "0.9 ± 0.1", "-"),
            ("mlp", Cell("0.91", 0.9131, alarm=True), "10", "0.85 ± 0.02", HOSTILE[3]),
            ("head10", Cell("–"), "1,000", "0.9 ± 0.03", "b"),
            ("head9", Cell("0.9", 0.9), "8.5", "0.80 ± 0.01", HOSTILE[6]),
        ),
        (("mean", Cell("0.908", 0.908), "257", "", ""),),
    )


def whole_page() -> Page:
    """Return the page."""
    pictures = tuple(
        Picture(f"X-ray {name}", picture(number, 160), f"covid as normal, 0.9{number}\n{name}")
        for number, name in enumerate(HOSTILE)
    )
    words = (
        Words("A first paragraph.\n\nAnd a second one, of " + HOSTILE[6]),
        Words("What is good to know of " + HOSTILE[0], "note"),
        Words("What has to be known.", "alarm"),
        Words(f"icehouse classify features.h5 -o run --head mlp {'--head svm ' * 30}\n{HOSTILE[1]}", "code"),
    )
    return Page(
        f"A run of {HOSTILE[0]}",
        f"Ten rounds on {HOSTILE[1]}",
        (
            Section("Results", (*words, table())),
            Section(
                f"Charts of {HOSTILE[2]}",
                (
                    map_figure(),
                    Columns(
                        (("mlp", (Words("Left."), confusion_figure())), ("svm", (Words("Right."), table())))
                    ),
                    Folded(
                        f"More of {HOSTILE[1]}", (confusion_figure("confusion-2", ("covid", "normal")), table())
                    ),
                ),
            ),
            Section("Pictures", (Gallery(HOSTILE[0], pictures, "The most confident ones."),)),
        ),
    )
