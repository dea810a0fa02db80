"""Promises about whole reports in a real browser: of hostile names, runs side by side, a cache, an audit."""

from __future__ import annotations

import csv
from pathlib import Path

import icehouse
import pytest
from icehouse import api, reporting
from icehouse.auditing import audit_cache
from icehouse.extract import engines
from making import draw
from small_network import SmallNetwork

pytest.importorskip("plotly")

SICK, WELL = "<script>alert('label')</script>", 'normal & "well" <b>%{y}</b>'
QUIET = {"note": lambda _: None}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Return a folder with images of two classes whose names are hostile, their cache and two runs."""
    folder = tmp_path_factory.mktemp("made")
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "patient", "hospital <i>name</i>"])
        for number in range(32):
            bright = number % 2 == 0
            path = f"images/{number:02} <img src=x onerror=alert(2)>.png"
            draw(folder / path, number, bright=bright != (number % 11 == 0))
            rows.writerow(
                [path, SICK if bright else WELL, f"p{number // 2}-{bright}", "<u>A</u>" if bright else "B"]
            )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "load", lambda _plan, batch_size, _pixels: SmallNetwork(batch_size))
        api.extract(folder / "manifest.csv", folder / "features.h5", backbone="efficientnetlite0")
        options = {"rounds": 3, "positive": SICK, **QUIET}
        run = icehouse.run_rounds(
            folder / "features.h5", ["svm", "mlp:epochs=5"], out=folder / "run", **options
        )
        run.report(folder / "report.html", **QUIET)
    other = icehouse.run_rounds(
        folder / "features.h5", ["knn"], out=folder / "other", splits=folder / "run", positive=SICK, **QUIET
    )
    assert other.path is not None
    choices = reporting.Choices(maps=False)
    reporting.report([folder / "run", folder / "other"], folder / "two.html", choices)
    reporting.report([folder / "features.h5"], folder / "cache.html", choices)
    reporting.report_audit(audit_cache(folder / "features.h5"), folder / "audit.html", choices)
    return folder


@pytest.fixture(scope="module")
def wide(opened, made):
    """Return the report of the first run as it opens on a desk, and its problems."""
    return opened(made / "report.html")


def titles(page) -> list[str]:
    return [text.strip() for text in page.locator("main h2").all_text_contents()]


def test_the_report_of_a_run_shows_everything_and_obeys_no_name(wide) -> None:
    page, problems = wide
    assert problems == []
    shown = titles(page)
    for title in (
        "Results",
        "Confusion matrices",
        "Calibration",
        "Training",
        "Controls",
        "Map of the vectors",
        "Cache",
    ):
        assert title in shown, shown
    assert "Images, right and wrong" in shown
    assert "How to repeat this" in shown
    text = page.locator("body").text_content()
    assert SICK in text
    assert "not a medical device" in text
    assert page.locator("main script:not([type]), main i, main u, img[src=x]").count() == 0
    assert page.locator(".plot[data-drawn]").count() >= 8
    assert "heat map for" in text
    alts = page.locator("img").evaluate_all("images => images.map(image => image.alt)")
    assert alts
    assert all(alts)


def test_a_reports_table_sorts_by_what_the_reader_chooses(wide) -> None:
    page, problems = wide
    table = page.locator("main table").first
    names = table.locator("tbody th[scope=row]")
    first = names.all_text_contents()
    head = table.locator("thead th").first
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert names.all_text_contents() == sorted(first)
    head.locator("button").press("Enter")
    assert names.all_text_contents() == sorted(first, reverse=True)
    assert problems == []


@pytest.mark.parametrize("name", ["report", "two", "cache", "audit"])
def test_no_page_is_wider_than_a_phone_or_says_anything_to_the_console(opened, made, name) -> None:
    page, problems = opened(made / f"{name}.html", width=400, dark=True)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    assert problems == []


def test_two_runs_stand_side_by_side_with_their_comparison(opened, made) -> None:
    page, problems = opened(made / "two.html", width=1280)
    text = page.locator("body").text_content()
    for head in ("run/svm", "run/mlp:epochs=5", "other/knn"):
        assert head in text
    assert "Holm" in text
    left, right = page.locator(
        "#controls .columns > *, section:has(> h2:text-is('Controls')) .columns > *"
    ).all()[:2]
    assert left.bounding_box()["x"] < right.bounding_box()["x"]
    assert abs(left.bounding_box()["y"] - right.bounding_box()["y"]) < 2
    assert problems == []
