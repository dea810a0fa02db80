"""A sheet of paper for pictures with words: contact sheets and heat maps are drawn on it, with Pillow alone."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, PALE, DIM, ALARM = "#ffffff", "#1c1c1c", "#e9e9e9", "#6a6a6a", "#b3261e"

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow's own font has little beyond ASCII; these, where one is installed, have most of the world's letters.
_LARGER_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf")
_PLAIN = {"×": "x", "–": "-", "−": "-", "≥": ">=", "“": '"', "”": '"'}
_NO_LETTER = "\uffff"
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


@dataclass
class Canvas:
    """A sheet of paper, and the pens to write on it.

    Parameters
    ----------
    image : Image
    scale : int
        How many of its pixels are one of the numbers that places and sizes of text are given in.
    """

    image: Image.Image
    scale: int = 1
    pen: ImageDraw.ImageDraw = field(init=False)

    def __post_init__(self) -> None:
        self.pen = ImageDraw.Draw(self.image)

    def text(
        self, x: float, y: float, text: str, size: int, colour: str = INK, width: float | None = None
    ) -> None:
        """Write one line, shortened in its middle to at most `width`."""
        font, text = _legible(text, size * self.scale)
        if width is not None:
            text = _fitting(text, font, width * self.scale)
        self.pen.text((x * self.scale, y * self.scale), text, fill=colour, font=font)

    def length(self, text: str, size: int) -> float:
        """Return how wide a line would be."""
        font, text = _legible(text, size * self.scale)
        return font.getlength(text) / self.scale

    def paragraph(self, x: float, y: float, text: str, size: int, colour: str, width: float) -> float:
        """Write words in as many lines of at most `width` as they take; return where the next line begins."""
        line = ""
        for word in [*text.split(" "), None]:
            longer = f"{line} {word}".lstrip()
            if word is not None and (not line or self.length(longer, size) <= width):
                line = longer
                continue
            self.text(x, y, line, size, colour, width)
            y += size * 1.4
            line = word or ""
        return y


def _legible(text: str, size: int) -> tuple[_Font, str]:
    """Return a font and the text as it can be written with it, in one line and nothing invisible.

    What no font here has is spelled by the character's number, as in Python, so that it is not lost.
    """
    text = "".join(_spelled(sign) if unicodedata.category(sign) in _INVISIBLE else sign for sign in text)
    own = _own_font(size)
    plain = "".join(_PLAIN.get(sign, sign) for sign in text)
    if all(_has(own, sign) for sign in set(plain)):
        return own, plain
    font = _larger_font(size) or own
    return font, "".join(sign if _has(font, sign) else _PLAIN.get(sign, _spelled(sign)) for sign in text)


def _spelled(sign: str) -> str:
    return sign.encode("ascii", "backslashreplace").decode() if ord(sign) > 127 else repr(sign)[1:-1]


@lru_cache
def _own_font(size: int) -> _Font:
    return ImageFont.load_default(size)


@lru_cache
def _larger_font(size: int) -> _Font | None:
    for name in _LARGER_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None


@lru_cache(maxsize=4096)
def _has(font: _Font, sign: str) -> bool:
    """Tell whether a font has a character, by what it draws for one that no font has."""
    if " " <= sign <= "~":
        return True
    drawn, missing = font.getmask(sign), font.getmask(_NO_LETTER)
    return (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))


def _fitting(text: str, font: _Font, width: float) -> str:
    """Return `text`, its middle left out as far as it takes to be at most `width` pixels wide."""
    if font.getlength(text) <= width:
        return text
    least, most = 0, len(text) - 1  # of its characters are kept
    while least < most:
        kept = (least + most + 1) // 2
        if font.getlength(_shortened(text, kept)) <= width:
            least = kept
        else:
            most = kept - 1
    return _shortened(text, least)


def _shortened(text: str, kept: int) -> str:
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
