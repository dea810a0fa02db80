"""Promises about pages in a real browser: they open offline, sort, obey no name, and are read in many ways."""

from __future__ import annotations

from pathlib import Path

import pytest
from icehouse.report import page as pages
from icehouse.report import themes
from icehouse.report.parts import Page, Section, Words
from making_pages import HOSTILE, POINTS, whole_page

pytest.importorskip("plotly")


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "report.html"
    pages.write(whole_page(), path)
    return path


@pytest.fixture(scope="module")
def light(opened, file):
    """Return the page as most tests look at it, wide and light, and its problems."""
    return opened(file)


@pytest.fixture(scope="module")
def narrow(opened, file):
    """Return the page on a phone in the dark, and its problems."""
    return opened(file, width=400, dark=True)


def texts(page, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_text_contents()]


def until(page, holds) -> None:
    """Wait until `holds()`; Playwright's own way needs an eval, which the pages' policy refuses."""
    for _ in range(400):
        if holds():
            return
        page.wait_for_timeout(25)
    raise AssertionError("it never came to hold")


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"


def test_a_page_opens_offline_and_the_browser_has_nothing_to_say(light, narrow) -> None:
    for page, problems in (light, narrow):
        assert problems == []
        assert page.locator(":not(details) > .columns .plot .heatmaplayer image").count() == 1
        assert page.locator(".plot .scatterlayer .point").count() == POINTS


def test_a_page_lets_nothing_be_requested_and_no_other_script_run(opened, tmp_path) -> None:
    pages.write(Page("Words", "", (Section("Only", (Words("words"),)),)), tmp_path / "words.html")
    page, problems = opened(tmp_path / "words.html")
    assert problems == []
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = 1";
            document.body.append(script);
            const image = new Image();
            image.src = "https://example.org/seen.png";
            document.body.append(image);
        }"""
    )
    assert page.evaluate("fetch('https://example.org/').catch(() => 'refused')") == "refused"
    page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
    assert len(problems) >= 3
    assert all("Content Security Policy" in problem for problem in problems)


def test_names_are_shown_as_they_are_and_never_obeyed(light) -> None:
    page, problems = light
    shown = page.locator("body").inner_text()
    for name in HOSTILE:
        assert name in shown
    assert HOSTILE[0] in texts(page, ".plot .legendtext")
    assert set(HOSTILE[:2]) <= set(texts(page, ".plot .xtick text"))
    page.locator(".plot .nsewdrag").first.hover()
    assert page.evaluate("window.hit") is None
    assert page.locator("img[src=x], a[href^=javascript], [onmouseover]").count() == 0
    assert problems == []


@pytest.mark.parametrize("way", ["click", "keyboard"])
def test_a_table_is_sorted_by_any_column_and_its_foot_stays(light, way) -> None:
    page, _ = light
    table = page.locator("table").nth(0 if way == "click" else 1)

    def sort_by(heading: str) -> list[str]:
        button = table.get_by_role("button", name=heading, exact=True)
        if way == "click":
            button.click()
        else:
            button.focus()
            page.keyboard.press("Enter")
        assert table.locator("tfoot th").all_inner_texts() == ["mean"]
        return table.locator("tbody th").all_inner_texts()

    def order() -> str | None:
        assert table.locator("th[aria-sort]").count() == 1
        return table.locator("th[aria-sort]").get_attribute("aria-sort")

    assert table.locator("th[aria-sort]").count() == 0
    # By what stands behind the cells, of which two read the same; what has no value is last either way.
    assert sort_by("accuracy") == ["head9", "svm", "mlp", "head10"]
    assert order() == "ascending"
    assert sort_by("accuracy") == ["mlp", "svm", "head9", "head10"]
    assert order() == "descending"
    assert sort_by("seconds") == ["head9", "svm", "mlp", "head10"]
    assert order() == "ascending"
    assert sort_by("mean ± std") == ["head9", "mlp", "svm", "head10"]
    assert sort_by("head") == ["head9", "head10", "mlp", "svm"]


def test_dark_mode_follows_the_system_and_the_button_charts_too(narrow) -> None:
    page, problems = narrow

    def colours() -> tuple[str, str, str]:
        return (
            page.evaluate("getComputedStyle(document.documentElement).backgroundColor"),
            page.locator(".plot .xtick text").first.evaluate("text => getComputedStyle(text).fill"),
            page.locator(".plot .bg, .plot .main-svg").first.evaluate(
                "svg => getComputedStyle(svg).backgroundColor"
            ),
        )

    def expected(theme) -> tuple[str, str, str]:
        return rgb(theme["ground"]), rgb(theme["ink"]), rgb(theme["card"])

    assert colours() == expected(themes.DARK)
    button = page.get_by_role("button", name="Dark")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    page.wait_for_selector(".plot[data-drawn=light] >> nth=1")
    assert colours() == expected(themes.LIGHT)
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    page.wait_for_selector(".plot[data-drawn=dark] >> nth=1")
    assert colours() == expected(themes.DARK)

    page.emulate_media(media="print", color_scheme="dark")
    page.wait_for_selector(".plot[data-drawn=light] >> nth=1")
    assert colours()[1:] == expected(themes.LIGHT)[1:]  # dark ink on paper
    for what in ("#theme", "nav", ".steps", ".copy"):
        assert not page.locator(what).first.is_visible(), what
    assert page.locator(".disclaimer").is_visible()
    page.emulate_media(media="screen", color_scheme="dark")
    page.wait_for_selector(".plot[data-drawn=dark] >> nth=1")
    assert problems == []


def test_on_a_phone_the_page_never_scrolls_sideways_but_its_tables_do(narrow) -> None:
    page, _ = narrow
    for details in page.locator("details.folded").all():
        details.locator("summary").first.click()
    page.wait_for_selector(".plot[data-drawn] >> nth=2")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
    box = page.locator(".scroll").first
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    assert box.get_attribute("tabindex") == "0"
    assert page.locator(".plot").evaluate_all("plots => Math.max(...plots.map(plot => plot.clientWidth))") < 400


def test_side_by_side_where_there_is_room_else_one_after_the_other(light, narrow) -> None:
    for (page, _), beside in ((light, True), (narrow, False)):
        left, right = (column.bounding_box() for column in page.locator(".column").all())
        assert (left["y"] == right["y"]) is beside
        assert (left["x"] == right["x"]) is not beside


def test_a_folded_chart_is_drawn_as_wide_as_its_place_when_it_is_unfolded(light) -> None:
    page, problems = light
    chart = page.locator("details.folded .plot")
    assert chart.get_attribute("data-drawn") is None
    page.locator("details.folded > summary").click()
    page.wait_for_selector("details.folded .plot[data-drawn]")
    width = "plot => [plot.clientWidth, Number(plot.querySelector('.main-svg').getAttribute('width'))]"
    place, drawn = chart.evaluate(width)
    assert place == drawn > 800
    page.set_viewport_size({"width": 700, "height": 900})
    until(page, lambda: chart.evaluate(width)[1] < 700)
    place, drawn = chart.evaluate(width)
    assert place == drawn
    page.set_viewport_size({"width": 1280, "height": 900})
    assert problems == []


def test_the_picture_of_a_point_is_shown_by_pointer_and_by_keyboard(light) -> None:
    page, _ = light
    shown = page.locator(".thumbnail")
    name = shown.locator(".name")
    point = page.locator(".plot .point").nth(8)
    point.scroll_into_view_if_needed()
    place = point.bounding_box()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    until(page, lambda: name.text_content() == "8.png")
    assert shown.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 48
    shown.get_by_role("button", name="Next picture").focus()
    page.keyboard.press("Enter")
    assert name.text_content() == "9.png"
    until(page, lambda: "9.png" in texts(page, ".plot .hovertext"))
    for _ in range(POINTS - 9):
        page.keyboard.press("ArrowRight")
    assert name.text_content() == HOSTILE[0]  # round the end
    assert shown.locator("img").get_attribute("alt") == HOSTILE[0]
    page.keyboard.press("ArrowLeft")
    assert name.text_content() == f"{POINTS - 1}.png"


def test_a_picture_is_enlarged_and_put_back_by_keyboard(light) -> None:
    page, _ = light
    button = page.locator(".enlarge").nth(1)
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.is_visible()
    assert HOSTILE[1] in dialog.inner_text()
    assert dialog.locator("img").bounding_box()["width"] > button.bounding_box()["width"]
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert button.evaluate("button => button === document.activeElement")


def test_who_hears_a_page_finds_headings_in_order_and_a_name_for_everything(light) -> None:
    page, _ = light
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(h => Number(h.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip([0, *levels], levels, strict=False))
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1
    nameless = """() => [...document.querySelectorAll("button")].filter(button =>
        !(button.ariaLabel || button.textContent).trim() && !button.querySelector("img[alt]"))"""
    assert page.evaluate(f"({nameless})().length") == 0
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("html").get_attribute("lang") == "en"
    broken = """() => [...document.querySelectorAll("[aria-labelledby], [aria-describedby], nav a")].filter(
        one => !document.getElementById(one.getAttribute("aria-labelledby") ??
            one.getAttribute("aria-describedby") ?? one.getAttribute("href").slice(1)))"""
    assert page.evaluate(f"({broken})().length") == 0
    twice = "() => { const ids = [...document.querySelectorAll('body [id]:not(svg *)')].map(one => one.id);"
    assert page.evaluate(f"({twice} return ids.length - new Set(ids).size; }})()") == 0
    for table in page.locator("table").all():
        assert table.locator("caption").count() == 1
        assert table.locator("th:not([scope])").count() == 0
    assert page.locator("figure.chart .plot[aria-label][aria-describedby]").count() == 3
    page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
    page.locator(".skip").focus()
    assert page.locator(".skip").bounding_box()["y"] >= 0


def test_a_browser_without_scripts_or_an_old_one_shows_all_but_the_charts(opened, file) -> None:
    page, problems = opened(file, scripts=False)
    assert page.locator("noscript p").is_visible()
    assert page.locator("tbody tr").first.is_visible()
    assert page.locator("thead button").count() == 0
    page, problems = opened(file, before="delete window.DecompressionStream")
    assert page.get_by_text("This chart cannot be drawn here").count() == 3
    assert page.get_by_text("Twelve points on a circle.").is_visible()
    assert problems == []
