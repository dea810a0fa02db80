"""Promises about pages as files: all in one, small, true to names and numbers, in nobody's place."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from icehouse import errors
from icehouse.report import page as pages
from icehouse.report import themes
from icehouse.report.parts import Cell, Figure, Gallery, Page, Picture, Section, Table, Words
from icehouse.report.tables import DISCLAIMER
from making_pages import HOSTILE, confusion_figure, map_figure, picture, whole_page

go = pytest.importorskip("plotly.graph_objects")
pytest.importorskip("jinja2")


class Read(HTMLParser):
    """What a browser finds in a page: its elements with their attributes, and the texts of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script":
            self.scripts.append((self.elements[-1][1].get("type"), data))

    def charts(self) -> list[dict[str, Any]]:
        found = [json.loads(text) for kind, text in self.scripts if kind == "application/json" and text.strip()]
        return [one for one in found if isinstance(one, dict) and "data" in one]


def one(*parts: Any, **given: Any) -> Page:
    return Page("Title", "About", (Section("Section", parts),), **given)


def figure(plot: Any) -> Figure:
    return Figure("chart", "Chart", "In words.", plot)


def test_everything_is_in_the_file_and_nothing_is_asked_for() -> None:
    read = Read(pages.html(whole_page()))
    for tag, attributes in read.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "data", "srcset"):
            assert re.match(r"data:image/jpeg;base64,|#", attributes.get(name) or "#"), (tag, attributes)
    policy = next(attributes["content"] for tag, attributes in read.elements if "http-equiv" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert "http" not in policy


def test_the_scripts_of_a_page_with_hostile_names_are_those_of_any_page() -> None:
    def kinds(page: Page) -> list[str | None]:
        return [
            attributes.get("type") for tag, attributes in Read(pages.html(page)).elements if tag == "script"
        ]

    assert kinds(whole_page()).count(None) == 1
    tame = one(map_figure(names=("a",)), confusion_figure(labels=("a", "b")))
    wild = one(map_figure(names=HOSTILE), confusion_figure(labels=HOSTILE[:2]))
    assert kinds(tame) == kinds(wild)


def test_markup_of_a_figures_own_works_and_that_of_names_does_not() -> None:
    plot = go.Figure(go.Bar(x=["<b>bold</b><br>x", HOSTILE[0], "a < b"], y=[1, 2, 3]))
    plot.update_traces(hovertemplate="%{y}<extra></extra>")
    (chart,) = Read(pages.html(one(figure(plot)))).charts()
    (bar,) = chart["data"]
    assert bar["x"] == ["<b>bold</b><br>x", "&lt;script>window.hit = 1&lt;/script>", "a &lt; b"]
    assert bar["hovertemplate"] == "%{y}<extra></extra>"


def test_numbers_are_short_and_what_is_none_is_null() -> None:
    x = np.array([1 / 3, 12345678.9, np.nan, np.inf, 2.0])
    y = [0.1234567891, None, float("nan"), 1e-9 / 3, 5]
    z = np.array([[1 / 7, 1], [2, 3]], dtype=np.float32)
    plot = go.Figure(
        [go.Scatter(x=x, y=y, customdata=np.array([[1, "a"], [2, "b"]], dtype=object)), go.Heatmap(z=z)]
    )
    plot.add_scatter(x=np.arange(3), y=np.array([1, 2, 3]))
    html = pages.html(one(figure(plot)))
    line, heat, whole = Read(html).charts()[0]["data"]
    assert line["x"] == [0.333333, 12345700, None, None, 2]
    assert line["y"] == [0.123457, None, None, 3.33333e-10, 5]
    assert line["customdata"] == [[1, "a"], [2, "b"]]
    assert heat["z"] == [[0.142857, 1], [2, 3]]
    assert whole["x"]["dtype"] == "i1"
    assert not re.search(
        r"\d\.\d{12}", "".join(text for kind, text in Read(html).scripts if kind == "application/json")
    )


def test_a_picture_that_several_charts_show_is_there_once() -> None:
    page = one(map_figure("pca"), map_figure("tsne"))
    assert pages.html(page).count("data:image/jpeg;base64,") == len(map_figure().thumbnails)
    first, second = Read(pages.html(page)).charts()
    assert first["pictures"] == second["pictures"] == list(range(len(map_figure().thumbnails)))


def test_plotly_is_only_in_pages_with_charts() -> None:
    words = pages.html(one(Words("words"), Gallery("Pictures", (Picture("a", picture(1)),))))
    assert len(words) < 60_000
    assert 1_500_000 < len(pages.html(one(confusion_figure()))) < 2_500_000


def test_the_map_of_a_thousand_images_leaves_room_for_heat_maps_under_8_mb() -> None:
    thumbnails = tuple(picture(number, 30) for number in range(1124))
    points = np.random.default_rng(0).normal(size=(2, 1124))
    called = [f"images/pneumonia/{number:08}_000.jpg" for number in range(1124)]
    charts = [
        Figure(
            name,
            name,
            "alt",
            go.Figure(go.Scatter(x=points[0], y=points[1], customdata=list(enumerate(called)))),
            thumbnails=thumbnails,
            names=tuple(called),
        )
        for name in ("pca", "tsne")
    ]
    beside_pictures = len(pages.html(one(*charts))) - 4 / 3 * sum(map(len, thumbnails))
    assert beside_pictures < 3e6


def test_numbers_are_sorted_as_numbers_and_only_their_columns_stand_to_the_right() -> None:
    rows = (
        (
            "10",
            Cell("0.91 ± 0.1", 0.9123),
            "1,000 images",
            "12.png",
            "-",
            Cell("a", "z"),
            Cell("alarm", alarm=True),
        ),
        ("9", "0.85", "20 images", "x", "−3 %", Cell("b"), "b"),
        ("8", Cell("–", float("nan")), "+.5", "2 heads", "", "none", "c"),
    )
    html = pages.html(one(Table("Caption", tuple("abcdefg"), rows, (("mean", "1", "", "", "", "", ""),))))
    cells = [attributes for tag, attributes in Read(html).elements if tag in ("th", "td")][7:-7]
    keys = [
        [
            None
            if "data-last" in cell
            else float(cell["data-number"])
            if "data-number" in cell
            else cell.get("data-text")
            for cell in cells[column::7]
        ]
        for column in range(7)
    ]
    assert keys[0] == [10, 9, 8]
    assert keys[1][0] == 0.9123
    assert keys[1][2] is None
    assert keys[2] == [1000, 20, 0.5]
    assert keys[3] == [None, None, None]  # texts, by themselves
    assert keys[4] == [None, -3, None]
    assert keys[5] == ["z", None, None]
    assert ["data-last" in cell for cell in cells[5::7]] == [False, True, True]
    assert not any("data-last" in cell for cell in cells[6::7])
    right = ["number" in (cell.get("class") or "") for cell in cells[:7]]
    assert right == [False, True, True, False, True, False, False]


def test_a_page_with_predictions_says_that_it_is_no_medical_device() -> None:
    assert DISCLAIMER in pages.html(one())
    assert DISCLAIMER not in pages.html(one(predictions=False))


@pytest.mark.parametrize("theme", [themes.LIGHT, themes.DARK])
def test_every_text_stands_out_from_its_ground(theme) -> None:
    def luminance(colour: str) -> float:
        # Relative luminance as WCAG 2.2 defines it.
        shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    grounds = {
        "ink": ("ground", "card", "accent-ground", "alarm-ground"),
        "pale": ("ground", "card"),
        "accent": ("ground", "card"),
        "alarm": ("ground", "card", "alarm-ground"),
    }
    for ink, papers in grounds.items():
        for paper in papers:
            dark, light = sorted((luminance(theme[ink]), luminance(theme[paper])))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)


def test_a_name_that_no_file_can_hold_is_written_all_the_same(tmp_path) -> None:
    broken = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    plot = go.Figure(go.Bar(x=[broken], y=[1]))
    pages.write(one(Words(broken), figure(plot)), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("caf?.png") == 2


def test_a_page_takes_the_place_of_nothing_but_a_page_and_only_when_asked(tmp_path) -> None:
    path = tmp_path / "report.html"
    pages.write(one(Words("first")), path)
    with pytest.raises(errors.OutputExists, match="--overwrite"):
        pages.write(one(Words("second")), path)
    assert "first" in path.read_text()
    pages.write(one(Words("second")), path, overwrite=True)
    assert "second" in path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    thesis = tmp_path / "thesis.html"
    thesis.write_text("<!DOCTYPE html><title>Thesis</title>")
    with pytest.raises(errors.OutputExists, match="no page of icehouse"):
        pages.write(one(), thesis, overwrite=True)
    assert "Thesis" in thesis.read_text()
    with pytest.raises(errors.UsageError, match="is a folder"):
        pages.write(one(), tmp_path)
    with pytest.raises(errors.UsageError, match="There is no folder"):
        pages.write(one(), tmp_path / "nowhere" / "report.html")


@pytest.mark.parametrize("absent", ["plotly", "jinja2"])
def test_what_is_not_installed_is_named_with_its_remedy(monkeypatch, absent) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(
        errors.MissingDependency, match=rf"{absent}.* is not installed.*pip install 'icehouse\[report"
    ):
        pages.require()


def test_the_same_page_is_the_same_file(tmp_path: Path) -> None:
    assert pages.html(whole_page()) == pages.html(whole_page())
