"""Promises about explanations: where a head looks is shown where it looks, and nothing is replaced unasked."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import icehouse
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from icehouse import api, errors, explaining
from icehouse.bundle.images import Choices
from icehouse.console import Group
from icehouse.explain_command import explain as command
from icehouse.extract import engines, streaming
from icehouse.extract.engines import Output
from icehouse.report import overlay
from icehouse.report.explanation import Explanation
from icehouse.report.heat_files import HeatFiles
from icehouse.report.tables import DISCLAIMER
from making import draw, write_cache
from PIL import Image
from small_network import SmallNetwork

QUIET = {"note": lambda _: None}
SIDE, CELLS = 56, 7


class Network(SmallNetwork):
    """The small network with 7×7 cells, each of which sees its own place only."""

    def _maps(self, frame: np.ndarray) -> np.ndarray:
        step = frame.shape[0] // (4 * CELLS)
        points = frame[: 4 * CELLS * step : step, : 4 * CELLS * step : step]
        cells = points.reshape(CELLS, 4, CELLS, 4, 3).mean(axis=(1, 3)) / 255
        colours = np.stack([cells[..., 0], cells[..., 0] ** 2, 1 - cells[..., 0]], axis=-1)
        return np.maximum(colours.astype(np.float32) @ self._matrix, 0)


@pytest.fixture(autouse=True)
def _small_network(monkeypatch) -> None:
    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: Network(batch_size))
    monkeypatch.setattr(overlay, "_SCALE", 1)  # a quarter of the pixels to be written


def picture(path: Path, number: int, *, blot: bool) -> tuple[float, float]:
    """Write a noisy picture, with a bright blot or without; return where it is, (y, x) as fractions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng([number, int(blot)])
    y, x = np.mgrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j]
    pixels = 70 + 30 * y + generator.normal(0, 8, (SIDE, SIDE)) + generator.normal(0, 6)
    centre = generator.uniform(0.15, 0.85, 2)
    if blot:
        pixels += 110 * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 0.01)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    return float(centre[0]), float(centre[1])


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Return a folder with features.h5 of pictures with and without a blot, and new/ with twenty other such."""
    folder = tmp_path_factory.mktemp("work")
    for number in range(25):
        picture(folder / "images" / "diseased" / f"{number:02}.png", number, blot=True)
        picture(folder / "images" / "normal" / f"{number:02}.png", number, blot=False)
    places = {
        f"{number:02}.png": picture(folder / "new" / f"{number:02}.png", 100 + number, blot=True)
        for number in range(20)
    }
    (folder / "places.json").write_text(json.dumps(places))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "load", lambda _plan, batch_size, _pixels: Network(batch_size))
        api.extract(folder / "images", folder / "features.h5", backbone="efficientnetlite0")
    icehouse.fit_head(folder / "features.h5", "logistic", out=folder / "model.head", **QUIET)
    return folder


@pytest.fixture(scope="module")
def head(work) -> icehouse.FittedHead:
    return icehouse.load_head(work / "model.head")


def explained(head: icehouse.FittedHead, *paths: Path, **options: Any) -> dict[str, Any]:
    return explaining.explain(head.bundle, paths, Choices(), **options)


def run(*arguments: object, cwd: Path, code: int = 0) -> Result:
    """Run `icehouse explain`, which must end with `code`."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with contextlib.chdir(cwd):
            done = CliRunner().invoke(Group(commands=[command]), ["explain", *map(str, arguments)])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done.exit_code == code, done.output
    return done


def near(found: list[dict[str, Any]], work: Path) -> float:
    """Return the share of pictures whose peak lies within a cell of the blot."""
    places = json.loads((work / "places.json").read_text())
    hits = 0
    for each in found:
        y, x = places[Path(each["path"]).name]
        peak = each["peak"]
        hits += peak is not None and max(abs(peak["y"] - y), abs(peak["x"] - x)) < 1 / CELLS
    return hits / len(found)


@pytest.mark.parametrize("kind", ["logistic", "svm", "mlp:epochs=40", "xgboost"])
def test_the_peak_lies_where_the_blot_is_whatever_the_head(work, kind) -> None:
    head = icehouse.fit_head(work / "features.h5", kind, **QUIET)
    found = explained(head, work / "new", target="diseased")["explanations"]
    assert len(found) == 20
    assert near(found, work) >= 0.9


def test_the_gradient_leads_to_the_blot_too_and_heads_without_one_say_so_at_once(
    work, head, monkeypatch
) -> None:
    found = explained(head, work / "new", target="diseased", method="grad-cam")["explanations"]
    assert near(found, work) >= 0.8
    assert min(min(map(min, each["weights"])) for each in found) >= 0
    monkeypatch.setattr(engines, "load", None)  # nothing is computed before
    trees = icehouse.fit_head(work / "features.h5", "xgboost", **QUIET)
    with pytest.raises(errors.UsageError, match="logistic"):
        explained(trees, work / "new", method="grad-cam")


def test_class_and_probability_are_those_of_predict_and_two_classes_have_opposite_scores(work, head) -> None:
    rows = {row["path"]: row for row in head.predict(work / "new", **QUIET).rows}
    both = {name: explained(head, work / "new", target=name)["explanations"] for name in head.bundle.classes}
    for chosen in explained(head, work / "new")["explanations"]:
        row = rows[chosen["path"]]
        assert chosen["class"] == chosen["predicted"] == row["predicted"]
        assert chosen["probability"] == pytest.approx(row[f"p_{row['predicted']}"], abs=1e-6)
        assert chosen["ood"] == pytest.approx(row["ood"], abs=1e-6)
    for one, other in zip(*both.values(), strict=True):
        assert one["probability"] + other["probability"] == pytest.approx(1)
        assert one["score"] == pytest.approx(-other["score"])
        np.testing.assert_allclose(one["weights"], -np.array(other["weights"]), atol=1e-4)


def test_what_cannot_be_explained_is_refused_with_the_reason_before_anything_is_computed(
    work, head, make_cache, two_clouds, monkeypatch, tmp_path
) -> None:
    monkeypatch.setattr(engines, "load", None)
    with pytest.raises(errors.UsageError, match="no class 'covid'; its classes are diseased, normal"):
        explained(head, work / "new", target="covid")
    vectors, labels = two_clouds
    by_hand = write_cache(tmp_path / "two.h5", vectors, labels, more={"conv": vectors})
    layers = icehouse.fit_head(by_hand, "logistic", layer=["avg_pool", "conv"], **QUIET)
    with pytest.raises(errors.BundleError, match=r"fitted on avg_pool, conv.*--layer avg_pool"):
        explained(layers, work / "new")
    run_split = ["cache", "split", work / "features.h5", "-o", tmp_path / "parts", "--class", "normal"]
    from icehouse.cli import main

    main([*map(str, run_split)], standalone_mode=False)
    part = tmp_path / "parts" / "features-normal.h5"
    lines = ["path,label", *(f"normal/{number:02}.png,{'ab'[number % 2]}" for number in range(25))]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    without = icehouse.fit_head(part, "logistic", positive="a", labels=tmp_path / "labels.csv", **QUIET)
    with pytest.raises(errors.BundleError, match=r"has no mean map.*grad-cam"):
        explained(without, work / "new")


def test_maps_whose_mean_is_not_the_vector_are_refused(work, head, monkeypatch) -> None:
    class Other(Network):
        def run(self, pixels: np.ndarray) -> Output:
            output = super().run(pixels)
            return Output(output.vectors, output.maps * np.float32(1.1))

    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: Other(batch_size))
    with pytest.raises(errors.RecipeMismatch, match="not the means of its last feature maps"):
        explained(head, work / "new")


def test_one_picture_becomes_one_png_that_no_second_run_replaces_unasked(work, tmp_path) -> None:
    done = run(work / "model.head", work / "new" / "03.png", cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["03-heat.png"]
    assert DISCLAIMER in done.stdout
    assert "03-heat.png: 1 picture explained" in done.stdout
    with Image.open(tmp_path / "03-heat.png") as image:
        assert image.format == "PNG"
        assert image.text["Disclaimer"] == DISCLAIMER
    again = run(work / "model.head", work / "new" / "03.png", cwd=tmp_path, code=1)
    assert "--overwrite" in again.stderr
    run(work / "model.head", work / "new" / "03.png", "--overwrite", cwd=tmp_path)


def test_nothing_but_an_explanation_is_ever_replaced(work, tmp_path) -> None:
    own = draw(tmp_path / "own.png", 1)
    before = own.read_bytes()
    for out in (own, tmp_path):
        done = run(work / "model.head", work / "new" / "03.png", "-o", out, "--overwrite", cwd=tmp_path, code=1)
        assert "own.png is no explanation" in done.stderr
    assert own.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["own.png"]
    done = run(work / "model.head", work / "new", "-o", "nowhere/heat", cwd=tmp_path, code=2)
    assert "no folder nowhere" in done.stderr


def test_a_folder_becomes_a_folder_with_a_sheet_and_failures_are_told(work, tmp_path) -> None:
    for number in range(4):
        (tmp_path / "some").mkdir(exist_ok=True)
        (tmp_path / "some" / f"{number}.png").write_bytes((work / "new" / f"0{number}.png").read_bytes())
    (tmp_path / "some" / "5.png").write_text("no picture")
    (tmp_path / "some" / "copy.png").write_bytes((tmp_path / "some" / "1.png").read_bytes())
    done = run(work / "model.head", "some", cwd=tmp_path, code=3)
    assert "5.png  decode: " in done.stdout
    names = [f"{number}-heat.png" for number in range(4)] + ["contact-sheet.png"]
    assert sorted(path.name for path in (tmp_path / "some-heat").iterdir()) == names
    (tmp_path / "some" / "3.png").unlink()
    done = run(work / "model.head", "some", "--overwrite", "--json", cwd=tmp_path, code=3)
    document = json.loads(done.stdout)
    found = document["explanations"]
    assert [each["path"] for each in found] == ["0.png", "1.png", "2.png", "copy.png"]
    assert {"path", "frame", "predicted", "class", "probability", "score", "peak", "weights", "picture"} <= set(
        found[0]
    )
    assert np.shape(found[0]["weights"]) == (CELLS, CELLS)
    assert found[3]["picture"] == found[1]["picture"] == "some-heat/1-heat.png"  # one file, drawn once
    assert [each["path"] for each in document["failures"]] == ["5.png"]
    assert not (tmp_path / "some-heat" / "3-heat.png").exists()  # what the older run left is gone
    assert "3-heat" not in str(list((tmp_path / "some-heat").iterdir()))


def test_each_frame_of_a_volume_has_a_picture_and_one_with_a_damaged_page_has_none(work, tmp_path) -> None:
    stack = np.random.default_rng(0).integers(0, 255, (3, SIDE, SIDE)).astype(np.uint8)
    (tmp_path / "volumes").mkdir()
    tifffile.imwrite(tmp_path / "volumes" / "whole.tif", stack, photometric="minisblack")
    pages = np.random.default_rng(1).integers(0, 255, (6, SIDE, SIDE)).astype(np.uint8)
    broken = tmp_path / "volumes" / "broken.tif"
    tifffile.imwrite(broken, pages, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(broken) as file:
        begin = file.pages[5].dataoffsets[0]
    broken.write_bytes(broken.read_bytes()[:begin])
    document = json.loads(
        run(work / "model.head", "volumes", "--batch-size", 4, "--json", cwd=tmp_path, code=3).stdout
    )
    assert [(each["path"], each["frame"]) for each in document["explanations"]] == [
        ("whole.tif", frame) for frame in range(3)
    ]
    assert [each["path"] for each in document["failures"]] == ["broken.tif"]
    names = sorted(path.name for path in (tmp_path / "volumes-heat").iterdir())
    assert names == ["contact-sheet.png", *(f"whole-heat-{frame:03}.png" for frame in range(3))]
    done = run(work / "model.head", "volumes/whole.tif", "-o", "x.png", "--batch-size", 4, cwd=tmp_path, code=2)
    assert "several frames" in done.stderr
    run(work / "model.head", "volumes/whole.tif", "-o", "y.png", "--frames", "middle", cwd=tmp_path)
    run(work / "model.head", "volumes/whole.tif", cwd=tmp_path)
    assert len(list((tmp_path / "whole-heat").iterdir())) == 4


def test_hostile_names_stay_inside_the_folder_and_apart_from_each_other(work, tmp_path) -> None:
    names = [
        "a/b.png",
        "a-b.png",
        "A-B.png",
        "-o.png",
        "c..png",
        "<script>.png",
        "\u202egnp.png",
        "\u5f71.png",
    ]
    names += [f"{'x' * 240}{number}.png" for number in range(2)]
    for number, name in enumerate(names):
        path = tmp_path / "some" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((work / "new" / f"{number:02}.png").read_bytes())
    run(work / "model.head", "some", "-o", "out", cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "some"]
    written = {path.name.casefold() for path in (tmp_path / "out").iterdir()}
    assert len(written) == len(names) + 1
    assert not [name for name in written if "/" in name or "<" in name or "\u202e" in name]


def test_pictures_are_handed_on_and_not_held(work, head, tmp_path) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def take(one: Explanation) -> None:
        nonlocal most
        alive.append(weakref.ref(one.pixels.base if one.pixels.base is not None else one.pixels))
        most = max(most, len({id(ref()) for ref in alive if ref() is not None}))

    paths = sorted((work / "new").iterdir())[:12]
    files = HeatFiles(paths, tmp_path / "out", overwrite=False)
    document = explaining.explain(head.bundle, paths, Choices(batch_size=3), files, take=take)
    assert len(document["explanations"]) == 12
    assert most <= 2  # batches


def test_an_interrupted_run_says_what_was_written(work, head, tmp_path, monkeypatch) -> None:
    stopping = threading.Event()

    @contextlib.contextmanager
    def stopped() -> Iterator[threading.Event]:
        yield stopping

    monkeypatch.setattr(streaming, "stop_on_signal", stopped)
    files = HeatFiles([work / "new"], tmp_path / "out", overwrite=False)
    with pytest.raises(errors.Interrupted, match=r"4 pictures were written to .*out"):
        explaining.explain(
            head.bundle, [work / "new"], Choices(batch_size=4), files, take=lambda _: stopping.set()
        )
    assert len(list((tmp_path / "out").iterdir())) == 4
