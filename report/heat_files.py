"""Where explanations are written: a PNG of one picture, or a folder with one of each and contact sheets."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from .. import errors
from ..cache import atomic
from ..cache.naming import distinct, for_file
from .canvas import ALARM, DIM, INK, PALE, PAPER, Canvas
from .explanation import UNLIKELY, Explanation
from .overlay import SOFTWARE, number, overlay, png, tile
from .tables import DISCLAIMER, counted

SHEET = "contact-sheet"
A_SHEET, SHEETS = 96, 10
"""Pictures on one sheet, and sheets at most: what they show is held until the end, and has to be little."""

_IN_A_ROW, _SIDE, _CAPTION = 8, 176, 52
_MARGIN, _GAP, _TITLE = 24, 10, 88
_PICTURES = (".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".svg", ".pdf")
_LOOKED_AT = 512
"""Bytes at a PNG's beginning, where it says what made it."""

Key = tuple[bytes, int]
"""A file's content and the number of a frame."""


class HeatFiles:
    """The files of one run of explanations; nothing that is there is replaced unasked.

    Parameters
    ----------
    data : sequence of Path
        What the user named.
    out : Path or None
        A PNG for one picture, else a folder; NAME-heat.png or NAME-heat in the current folder unless told.
    overwrite : bool
        Replace older explanations; nothing else is ever replaced.

    Raises
    ------
    OutputExists
        If something is there that must stay.
    UsageError
        If the place has no folder to be in.
    """

    def __init__(self, data: Sequence[Path], out: Path | None, *, overwrite: bool) -> None:
        self.sheets: list[Path] = []
        self._overwrite = overwrite
        self._written: dict[Key, Path] = {}
        self._tiles: dict[Key, _Tile] = {}
        self._names: list[str] = []
        self._alone: bytes | None = None
        name = _name_of(data)
        self._file, self._folder = (Path(f"{name}.png"), Path(name)) if out is None else (out, out)
        self._single = out is not None and out.suffix.lower() == ".png" and not out.is_dir()
        # A file by itself is one picture or a volume: which, is known when it has been read.
        self._open = out is None and len(data) == 1 and data[0].is_file() and data[0].suffix.lower() != ".csv"
        if out is not None and out.suffix.lower() in _PICTURES and not out.is_dir():
            raise errors.UsageError(f"{out}: pictures are written as PNG; name a .png file, or a folder.")
        for folder in data:
            if (
                folder.is_dir()
                and self._folder.absolute().is_relative_to(folder.absolute())
                and not self._single
            ):
                raise errors.UsageError(
                    f"{self._folder} lies in {folder}, whose images are read: name a folder elsewhere with -o."
                )
        places = [self._file, self._folder] if self._open else [self.place]
        self._stale = {place: self._check(place) for place in places}

    @property
    def place(self) -> Path:
        """The file or the folder."""
        return self._file if self._single else self._folder

    @property
    def written(self) -> int:
        """How many pictures are there so far."""
        return 0 if self._single else len(self._written)

    def begin(self, paths: Sequence[str]) -> None:
        """Learn of the samples, before anything is computed.

        Raises
        ------
        UsageError
            If they are several, and a PNG was named for them.
        """
        if self._single and len(paths) > 1:
            raise errors.UsageError(
                f"{self._file} is one picture, and there are {len(paths)} images: name a folder with -o."
            )
        self._names = distinct(for_file("-".join(_parts(path))) for path in paths)

    def add(self, sample: int, shown: Explanation) -> None:
        """Write one picture.

        Parameters
        ----------
        sample : int
            The first sample that it is of, by its place among the paths.
        shown : Explanation

        Raises
        ------
        UsageError
            If it is the second one, and a PNG was named.
        OutputExists, DiskFull, CacheError
        """
        key, alone = (shown.content, shown.frame), shown.frames == 1
        if self._open:
            self._single, self._open = alone, False
        if self._alone is not None:
            raise errors.UsageError(
                f"{self._file} is one picture, and {self._names[0]} has several frames: name a folder with -o, "
                "or one of the frames with --frames middle."
            )
        if self._single:  # written once it is known to be the only one
            path, self._alone = self._file, overlay(shown)
        else:
            self._folder.mkdir(exist_ok=True)
            which = "" if alone else f"-{key[1]:03}"
            path = self._folder / f"{self._names[sample]}-heat{which}.png"
            self._write(path, overlay(shown))
        self._written[key] = path
        if not self._single and len(self._tiles) < A_SHEET * SHEETS:
            self._tiles[key] = _tile_of(shown)

    def finish(self, order: Iterable[Key], title: str) -> dict[Key, Path]:
        """Write the contact sheets, and remove what is no longer meant.

        Parameters
        ----------
        order : iterable of tuple
            The pictures that are meant, as they are to stand: not those of a volume that failed later.
        title : str

        Returns
        -------
        dict of tuple to Path
            The file of each.
        """
        meant = {key: self._written[key] for key in order if key in self._written}
        if self._alone is not None and meant:
            self._write(self._file, self._alone)
        for path in {*self._written.values()} - {*meant.values()}:
            path.unlink(missing_ok=True)
        tiles = [self._tiles[key] for key in meant if key in self._tiles]
        if not self._single:
            for first in range(0, len(tiles), A_SHEET):
                which = f"-{first // A_SHEET + 1}" if first else ""
                path = self._folder / f"{SHEET}{which}.png"
                about = f"{first + 1} to {min(first + A_SHEET, len(tiles))} of {counted(len(meant), 'picture')}"
                self._write(path, png(_sheet(tiles[first : first + A_SHEET], title, about)))
                self.sheets.append(path)
        for path in self._stale[self.place] - {*meant.values(), *self.sheets}:
            path.unlink(missing_ok=True)
        return meant

    @property
    def not_on_sheets(self) -> int:
        """How many pictures the contact sheets leave out."""
        return 0 if self._single else len(self._written) - len(self._tiles)

    def _check(self, place: Path) -> set[Path]:
        """Return the older explanations that may go; raise unless a place may be written to."""
        if not place.name or not place.absolute().parent.is_dir():
            raise errors.UsageError(f"There is no folder {place.parent} for {place.name or 'explanations'}.")
        if not place.exists():
            if not os.access(place.absolute().parent, os.W_OK):
                raise errors.UsageError(
                    f"No permission to write in {place.absolute().parent}: name a place with -o."
                )
            return set()
        if not self._single and place != self._file and not place.is_dir():
            raise errors.UsageError(
                f"{place} is a file, and pictures go into a folder: name another one with -o."
            )
        held = [*place.iterdir()] if place.is_dir() else [place]
        if foreign := next((path for path in held if not _is_ours(path)), None):
            raise errors.OutputExists(
                f"{foreign} is no explanation, and nothing else is ever replaced: name another file or folder "
                "with -o."
            )
        if held and not self._overwrite:
            raise errors.OutputExists(
                f"{place} exists already. Name another file or folder with -o, or give --overwrite."
            )
        return {*held}

    def _write(self, path: Path, content: bytes) -> None:
        if path.exists() and path not in self._stale[self.place]:
            raise errors.OutputExists(f"{path} exists already, and was not there before.")
        atomic.write_bytes(path, content)


def _name_of(data: Sequence[Path]) -> str:
    whole = data[0].resolve()
    if len(data) > 1:
        return "heat"
    return f"{for_file(whole.name if whole.is_dir() else whole.stem)}-heat"


def _parts(path: str) -> list[str]:
    """Return the folders and the name of a sample, without what only says where it lies."""
    return [part for part in PurePosixPath(path).with_suffix("").parts if part not in ("/", "..", ".")]


def _is_ours(path: Path) -> bool:
    """Tell whether a file is an explanation that was written here."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT)
    return start.startswith(b"\x89PNG") and SOFTWARE.encode() in start


class _Tile(NamedTuple):
    """A picture on a sheet, small enough to be held: a JPEG, three lines, and whether it was told wrong."""

    picture: bytes
    name: str
    answer: str
    about: str
    wrong: bool


def _tile_of(shown: Explanation) -> _Tile:
    buffer = io.BytesIO()
    tile(shown, _SIDE).save(buffer, "JPEG", quality=92, subsampling=0)
    most = float(shown.heat.max())
    about = [f"predicted {shown.predicted}"] if shown.explained != shown.predicted else []
    about += ["unlike training"] if shown.ood is not None and shown.ood < UNLIKELY else []
    about += [f"labelled {shown.known_label}"] if shown.known_label else []
    about.append(f"peak {number(most)}" if most > 0 else f"nothing speaks for {shown.explained}")
    return _Tile(
        buffer.getvalue(),
        PurePosixPath(shown.name).name,
        f"{shown.explained} {shown.probability:.2f}",
        "; ".join(about),
        shown.known_label not in ("", shown.predicted),
    )


def _sheet(tiles: Sequence[_Tile], title: str, about: str) -> Image.Image:
    """Return a sheet of pictures, each with a colour scale of its own.

    The largest weights of two pictures may differ tenfold, and where the head looks is asked of each; the
    number under a picture is its brightest colour's.
    """
    rows = -(-len(tiles) // _IN_A_ROW)
    width = 2 * _MARGIN + _IN_A_ROW * _SIDE + (_IN_A_ROW - 1) * _GAP
    height = _TITLE + rows * (_SIDE + _CAPTION + _GAP) + _MARGIN
    canvas, inner = Canvas(Image.new("RGB", (width, height), PAPER)), width - 2 * _MARGIN
    canvas.text(_MARGIN, 16, title, 20, width=inner)
    each = (
        "each in a colour scale of its own, from 0 to its peak's weight; red: predicted otherwise than labelled"
    )
    canvas.text(_MARGIN, 44, f"{about}; {each}", 14, DIM, inner)
    canvas.text(_MARGIN, 64, DISCLAIMER, 13, DIM, inner)
    for index, one in enumerate(tiles):
        row, column = divmod(index, _IN_A_ROW)
        x, y = _MARGIN + column * (_SIDE + _GAP), _TITLE + row * (_SIDE + _CAPTION + _GAP)
        canvas.pen.rectangle((x, y, x + _SIDE - 1, y + _SIDE - 1), fill=PALE)
        with Image.open(io.BytesIO(one.picture)) as image:
            canvas.image.paste(image, (x + (_SIDE - image.width) // 2, y + (_SIDE - image.height) // 2))
        canvas.text(x, y + _SIDE + 3, one.name, 13, INK, _SIDE)
        canvas.text(x, y + _SIDE + 19, one.answer, 12, ALARM if one.wrong else INK, _SIDE)
        canvas.text(x, y + _SIDE + 34, one.about, 11, DIM, _SIDE)
    return canvas.image
