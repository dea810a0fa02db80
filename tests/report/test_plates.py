"""Promises about charts as files: every chart of a page, with its title, on white, in nobody's place."""

from __future__ import annotations

import shutil
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from icehouse import errors
from icehouse.report.parts import Columns, Folded, Page, Section
from icehouse.report.plates import write_figures
from making_pages import HOSTILE, confusion_figure, map_figure
from PIL import Image

pytest.importorskip("plotly")


def page() -> Page:
    tame = confusion_figure("two", ("covid", "normal"))
    folded = Folded("More", (map_figure(),))
    return Page("Title", "", (Section("Charts", (Columns((("a", (tame,)), ("b", (folded,)))),)),))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> list[Path]:
    pytest.importorskip("kaleido")
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        pytest.skip("there is no Chromium")
    return write_figures(page(), tmp_path_factory.mktemp("out") / "figures")


def test_every_chart_is_a_png_and_an_svg_of_its_name(written) -> None:
    names = ["two.png", "two.svg", "map.png", "map.svg"]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in written[0].parent.iterdir()) == sorted(names)
    with Image.open(written[0]) as image:
        assert image.format == "PNG"
        assert image.size == (1800, 700)
        assert image.convert("RGB").getpixel((5, 5)) == (255, 255, 255)


def test_a_drawing_has_its_title_and_shows_names_as_they_are(written) -> None:
    texts = {
        "".join(node.itertext()) for node in ElementTree.parse(written[3]).iter() if node.tag.endswith("text")
    }
    assert f"Map {HOSTILE[0]}" in texts
    assert "component 1" in texts
    assert not any(node.tag.endswith("script") for node in ElementTree.parse(written[3]).iter())


def test_a_drawing_takes_the_place_of_nothing_but_a_drawing_and_only_when_asked(tmp_path) -> None:
    (tmp_path / "two.svg").write_text("my notes")
    with pytest.raises(errors.OutputExists, match=r"two.svg exists already.*--overwrite"):
        write_figures(page(), tmp_path)
    with pytest.raises(errors.OutputExists, match=r"two.svg is no SVG drawing"):
        write_figures(page(), tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["two.svg"]
    with pytest.raises(errors.UsageError, match="is a file"):
        write_figures(page(), tmp_path / "two.svg")
    with pytest.raises(errors.UsageError, match="There is no folder"):
        write_figures(page(), tmp_path / "nowhere" / "figures")


def test_charts_of_one_name_get_a_file_each(tmp_path) -> None:
    (tmp_path / "map-2.png").touch()
    twice = Page("Title", "", (Section("Charts", (map_figure(), confusion_figure(), map_figure())),))
    with pytest.raises(errors.OutputExists, match=r"map-2.png exists already"):
        write_figures(twice, tmp_path)


def test_what_is_absent_is_named_with_its_remedy(tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "kaleido", None)
        with pytest.raises(errors.MissingDependency, match=r"kaleido.*pip install 'icehouse\[figures\]'"):
            write_figures(page(), tmp_path / "figures")
    pytest.importorskip("kaleido")
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no-browser"))
    with pytest.raises(errors.MissingDependency, match=r"Chrome or Chromium.*BROWSER_PATH"):
        write_figures(page(), tmp_path / "figures")
    assert list(tmp_path.iterdir()) == []
