"""The contact sheet of `icehouse inspect`: what the network will see, some of each class, as one PNG."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from .. import errors
from ..cache import atomic
from ..extract.inspection import CLASSES_SHOWN, TILE_PIXELS, TILES_A_CLASS, Inspection, Tile
from .canvas import ALARM, DIM, PALE, PAPER, Canvas
from .tables import plain_text

_MARGIN, _GAP = 24, 10
_CAPTION = 34
_HEADING = 40
_TITLE = 74
_WIDTH = 2 * _MARGIN + TILES_A_CLASS * TILE_PIXELS + (TILES_A_CLASS - 1) * _GAP


def place(data: Path, sheet: Path | None, *, overwrite: bool) -> Path | None:
    """Return the file that the contact sheet goes to.

    Parameters
    ----------
    data : Path
        What is inspected.
    sheet : Path or None
        The file that the user named; NAME-sheet.png in the current folder unless told.
    overwrite : bool
        Take the place of a file that is there.

    Returns
    -------
    Path or None
        None if the user named no file and there is one already, or the folder cannot be written to.

    Raises
    ------
    OutputExists
        If there is a file that the user named.
    UsageError
        If it is no PNG, or its folder does not exist.
    """
    if sheet is None:
        whole = data.resolve()
        path = Path(f"{whole.name if whole.is_dir() else whole.stem}-sheet.png")
        free = overwrite or not path.exists()
        return path if free and os.access(path.absolute().parent, os.W_OK) else None
    if sheet.suffix.lower() != ".png":
        raise errors.UsageError(f"The contact sheet is a PNG file, and {sheet} is not named like one.")
    if not sheet.absolute().parent.is_dir():
        raise errors.UsageError(f"There is no folder {sheet.parent} for the contact sheet.")
    if sheet.exists() and not overwrite:
        raise errors.OutputExists(f"{sheet} exists already. Choose another name, or give --overwrite.")
    return sheet


def write(path: Path, inspection: Inspection, title: str, recipe: dict[str, Any]) -> None:
    """Write the contact sheet to `path`, whatever stands there.

    Parameters
    ----------
    path : Path
    inspection : Inspection
    title : str
        What was inspected.
    recipe : dict
        How the pixels were prepared: `Preparation.recipe()`.

    Raises
    ------
    CacheError, DiskFull
        If it cannot be written.
    """
    buffer = io.BytesIO()
    draw(inspection, title, recipe).save(buffer, "PNG")
    atomic.write_bytes(path, buffer.getvalue())


def draw(inspection: Inspection, title: str, recipe: dict[str, Any]) -> Image.Image:
    """Return the contact sheet: a row or two for each class, then files with something doubtful about them."""
    sections = [(_heading_of(label, inspection), tiles) for label, tiles in inspection.classes.items()]
    if inspection.doubtful:
        sections.append(("Doubtful, not shown above", inspection.doubtful))
    heights = [_HEADING + _rows(tiles) * (TILE_PIXELS + _CAPTION + _GAP) for _, tiles in sections]
    canvas = Canvas(Image.new("RGB", (_WIDTH, _TITLE + sum(heights) + _MARGIN), PAPER))
    inner = _WIDTH - 2 * _MARGIN
    canvas.text(_MARGIN, _MARGIN - 6, title, 22, width=inner)
    left_out = len({look.sample.label for look in inspection.looks}) - len(inspection.classes)
    more = f"; {left_out} more classes than the {CLASSES_SHOWN} shown" if left_out else ""
    size, resize, intensity = (plain_text(recipe[name]) for name in ("size", "resize", "intensity"))
    about = f"{size} pixels, resize {resize}, intensity {intensity}"
    canvas.text(_MARGIN, _MARGIN + 24, f"As the network sees them: {about}{more}", 14, DIM, inner)
    y = _TITLE
    for (heading, tiles), height in zip(sections, heights, strict=True):
        canvas.pen.line((_MARGIN, y, _WIDTH - _MARGIN, y), fill=PALE, width=2)
        canvas.text(_MARGIN, y + 10, heading, 18, width=inner)
        for number, tile in enumerate(tiles):
            row, column = divmod(number, TILES_A_CLASS)
            x = _MARGIN + column * (TILE_PIXELS + _GAP)
            _draw_tile(canvas, tile, x, y + _HEADING + row * (TILE_PIXELS + _CAPTION + _GAP))
        y += height
    return canvas.image


def _heading_of(label: str, inspection: Inspection) -> str:
    own = [look for look in inspection.looks if look.sample.label == label]
    patients = len({look.sample.patient for look in own} - {""})
    doubtful = sum(bool(look.marks) for look in own)
    words = [f"{len(own)} files", *([f"{patients} patient{'s' * (patients > 1)}"] if patients else [])]
    if doubtful:
        words.append(f"{doubtful} doubtful")
    return f"{label or 'without a label'}: {', '.join(words)}"


def _rows(tiles: Sequence[Tile]) -> int:
    return -(-len(tiles) // TILES_A_CLASS)


def _draw_tile(canvas: Canvas, tile: Tile, x: int, y: int) -> None:
    box = (x, y, x + TILE_PIXELS - 1, y + TILE_PIXELS - 1)
    canvas.pen.rectangle(box, fill=PALE)
    look = tile.look
    if tile.pixels is not None:
        picture = Image.fromarray(tile.pixels)
        left, top = (TILE_PIXELS - picture.width) // 2, (TILE_PIXELS - picture.height) // 2
        canvas.image.paste(picture, (x + left, y + top))
    else:
        canvas.pen.line((x, y, *box[2:]), fill=ALARM)
        canvas.pen.line((x, box[3], box[2], y), fill=ALARM)
    if look.marks:
        canvas.pen.rectangle(box, outline=ALARM, width=3)
        canvas.pen.rectangle((x, box[3] - 18, box[2], box[3]), fill=ALARM)
        canvas.text(x + 6, box[3] - 17, ", ".join(look.marks), 13, PAPER, TILE_PIXELS - 12)
    facts = look.facts
    name = PurePosixPath(look.sample.path).name
    canvas.text(x, y + TILE_PIXELS + 3, name, 13, width=TILE_PIXELS)
    if look.failure is not None:
        under = look.failure.reason
    else:
        assert facts is not None
        under = f"{facts.width}×{facts.height} {facts.bits} bits {facts.format} {facts.mode}"
        if facts.frames > 1:
            under = f"frame {tile.frame + 1} of {facts.frames}, {under}"
    canvas.text(x, y + TILE_PIXELS + 18, under, 11, DIM, TILE_PIXELS)
