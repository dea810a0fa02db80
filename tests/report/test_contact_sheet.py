"""Promises about the contact sheet: it shows what the network sees, and takes the place of nothing unasked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from icehouse import errors
from icehouse.extract import inspection
from icehouse.extract.decode import Preparation, open_image
from icehouse.extract.sources import read_source
from icehouse.report import contact_sheet
from making import draw
from PIL import Image

SIZE = 100


def sheet_of(data: Path) -> np.ndarray:
    found = inspection.inspect(read_source(data), Preparation(SIZE))
    return np.asarray(contact_sheet.draw(found, "title", Preparation(SIZE).recipe()))


def holds(sheet: np.ndarray, patch: np.ndarray) -> bool:
    """Tell whether `patch` is somewhere in `sheet`."""
    height, width = patch.shape[:2]
    corners = np.argwhere((sheet == patch[0, 0]).all(axis=-1))
    return any(
        (sheet[y : y + height, x : x + width] == patch).all() for y, x in corners if y + height < len(sheet)
    )


def test_each_picture_is_shown_as_the_network_sees_it(image_folder) -> None:
    sheet = sheet_of(image_folder)
    for file in image_folder.glob("*/*.png"):
        frame = Preparation(SIZE).frame(open_image(file.read_bytes()).frame(0))
        assert holds(sheet, np.rint(frame.pixels).astype(np.uint8)), file


def test_deep_pictures_are_shown_after_their_intensity_is_set(tmp_path) -> None:
    dark = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint16) + 1000
    Image.fromarray(dark).save(tmp_path / "deep.png")
    frame = Preparation(SIZE).frame(open_image((tmp_path / "deep.png").read_bytes()).frame(0))
    shown = np.rint(frame.pixels).astype(np.uint8)
    assert shown.min() < 5
    assert shown.max() > 250
    assert holds(sheet_of(tmp_path), shown)


def test_what_is_doubtful_or_cannot_be_read_is_there_and_marked(image_folder) -> None:
    clean = sheet_of(image_folder)
    (image_folder / "covid" / "9.png").write_text("hello")
    marked = sheet_of(image_folder)
    red = np.array([0xB3, 0x26, 0x1E])
    assert not (clean == red).all(axis=-1).any()
    assert (marked == red).all(axis=-1).any()


def test_the_sheet_is_a_png_and_long_names_fit(tmp_path) -> None:
    draw(tmp_path / "a" / ("very long " * 20 + "name.png"), 1)
    found = inspection.inspect(read_source(tmp_path), Preparation(SIZE))
    contact_sheet.write(tmp_path / "sheet.png", found, "t" * 500, Preparation(SIZE).recipe())
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.format == "PNG"
        pixels = np.asarray(image)
    right_of_the_tile = pixels[120:, 24 + inspection.TILE_PIXELS + 1 :]
    assert (right_of_the_tile == 255).all()


def test_an_existing_file_is_never_overwritten_unasked(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "my.data"
    data.mkdir()
    assert contact_sheet.place(data, None, overwrite=False) == Path("my.data-sheet.png")
    Path("my.data-sheet.png").touch()
    assert contact_sheet.place(data, None, overwrite=False) is None
    assert contact_sheet.place(data, None, overwrite=True) == Path("my.data-sheet.png")
    with pytest.raises(errors.OutputExists, match="give --overwrite"):
        contact_sheet.place(data, Path("my.data-sheet.png"), overwrite=False)
    with pytest.raises(errors.UsageError, match="PNG"):
        contact_sheet.place(data, Path("sheet.jpg"), overwrite=False)
    with pytest.raises(errors.UsageError, match="no folder nowhere"):
        contact_sheet.place(data, Path("nowhere/sheet.png"), overwrite=False)
    Path("list.csv").touch()
    assert contact_sheet.place(Path("list.csv"), None, overwrite=False) == Path("list-sheet.png")
