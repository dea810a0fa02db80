"""What the numbers of a DICOM frame mean: modality LUT, the file's own window, padding, palettes.

Nothing here decodes pixels, and nothing decides how they are shown: that is the intensity policy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .dicom_header import numbers, text, whole_number
from .picture import Pixels

Range = tuple[float, float]


@dataclass(frozen=True)
class Table:
    """A look-up table (DICOM PS3.3, C.11.1.1): the first entry is that of `first` and of all below it.

    Parameters
    ----------
    first : int
    entries : ndarray, shape (n,)
    bits : int
        Each entry's.
    """

    first: int
    entries: Pixels
    bits: int

    def look_up(self, values: Pixels) -> Pixels:
        """Return the entries for `values`."""
        places = np.rint(values.astype(np.float64) - self.first)
        found: Pixels = self.entries[np.clip(places, 0, len(self.entries) - 1).astype(np.intp)]
        return found

    def __call__(self, values: Pixels) -> Pixels:
        """Return the entries for `values` as a window does: float32 between 0 and 255."""
        return self.look_up(values).astype(np.float32) * np.float32(255.0 / (2**self.bits - 1))


@dataclass(frozen=True)
class Window:
    """A window (DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3): from values to float32 between 0 and 255.

    Parameters
    ----------
    center, width : float
    function : {"LINEAR", "LINEAR_EXACT", "SIGMOID"}
    """

    center: float
    width: float
    function: str

    def __call__(self, values: Pixels) -> Pixels:
        """Return `values` as this window shows them."""
        shown = values.astype(np.float64)
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):
                return (255.0 / (1.0 + np.exp(-4.0 * (shown - self.center) / self.width))).astype(np.float32)
        exact = self.function == "LINEAR_EXACT"
        center, width = (self.center, self.width) if exact else (self.center - 0.5, self.width - 1)
        shown -= center
        if width == 0:
            return np.where(shown > 0, np.float32(255.0), np.float32(0.0))
        shown *= 255.0 / width
        shown += 127.5
        return np.clip(shown, 0.0, 255.0, out=shown).astype(np.float32)


@dataclass(frozen=True)
class Meaning:
    """What the numbers stored in one frame stand for.

    Parameters
    ----------
    slope, intercept : float
    table : Table, optional
        The modality LUT, in place of slope and intercept.
    hounsfield : bool
        Whether the results can be Hounsfield units: there is a rescale, of no other type.
    window : Window or Table, optional
        The file's own, the first if it has several.
    """

    slope: float = 1.0
    intercept: float = 0.0
    table: Table | None = None
    hounsfield: bool = False
    window: Window | Table | None = None

    @property
    def changes(self) -> bool:
        """Whether the values are other ones than the numbers stored."""
        return self.table is not None or (self.slope, self.intercept) != (1.0, 0.0)

    def values(self, stored: Pixels) -> Pixels:
        """Return float32 values, or the numbers stored if they are the values."""
        if not self.changes:
            return stored
        if self.table is not None:
            return self.table.look_up(stored).astype(np.float32)
        return (stored.astype(np.float64) * self.slope + self.intercept).astype(np.float32)

    def range(self, stored: Range) -> Range:
        """Return between which values the numbers between `stored` can lie."""
        if self.table is not None:
            return 0.0, float(2**self.table.bits - 1)
        low, high = sorted(number * self.slope + self.intercept for number in stored)
        return low, high


def meaning_of(dataset: Any, frame: int, little_endian: bool) -> Meaning:
    """Return what the numbers of a frame stand for.

    Enhanced objects say it in functional groups of the frame or of all of them (DICOM PS3.3, C.7.6.16), others
    in the data set itself.
    """
    groups = [
        *_items(dataset, "PerFrameFunctionalGroupsSequence")[frame : frame + 1],
        *_items(dataset, "SharedFunctionalGroupsSequence")[:1],
    ]
    rescales = [item for group in groups for item in _items(group, "PixelValueTransformationSequence")[:1]]
    windows = [item for group in groups for item in _items(group, "FrameVOILUTSequence")[:1]]
    slope, intercept, table, hounsfield = _rescale_of([*rescales, dataset], little_endian)
    return Meaning(slope, intercept, table, hounsfield, _window_of([*windows, dataset], little_endian))


def _items(dataset: Any, keyword: str) -> Sequence[Any]:
    found = dataset.get(keyword)
    return found if isinstance(found, Sequence) and not isinstance(found, str | bytes) else ()


def _rescale_of(places: list[Any], little_endian: bool) -> tuple[float, float, Table | None, bool]:
    for place in places:
        for item in _items(place, "ModalityLUTSequence")[:1]:
            return 1.0, 0.0, _table(item, "LUTDescriptor", "LUTData", little_endian), False
        slopes, intercepts = numbers(place, "RescaleSlope"), numbers(place, "RescaleIntercept")
        if slopes and intercepts:
            hounsfield = text(place, "RescaleType").upper() in ("", "HU")
            return slopes[0] or 1.0, intercepts[0], None, hounsfield  # a slope of 0 would wipe everything out
    return 1.0, 0.0, None, False


def _window_of(places: list[Any], little_endian: bool) -> Window | Table | None:
    for place in places:
        for item in _items(place, "VOILUTSequence")[:1]:
            return _table(item, "LUTDescriptor", "LUTData", little_endian)
        centers, widths = numbers(place, "WindowCenter"), numbers(place, "WindowWidth")
        if centers and widths:
            function = text(place, "VOILUTFunction").upper()
            function = function if function in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"
            usable = widths[0] >= 1 if function == "LINEAR" else widths[0] > 0
            return Window(centers[0], widths[0], function) if usable else None
    return None


def _table(item: Any, descriptor: str, data: str, little_endian: bool) -> Table:
    found = numbers(item, descriptor)
    if len(found) != 3:
        raise errors.ImageError("decode", f"a look-up table whose {descriptor} does not hold three numbers")
    count, first, bits = (int(number) for number in found)
    count = count or 2**16  # by the standard, as 2**16 is too large for the field
    if not (0 < count <= 2**16 and 1 <= bits <= 16):
        raise errors.ImageError("decode", f"a look-up table of {count} entries of {bits} bits")
    if first >= 2**15 and count + first > 2**16:
        first -= 2**16  # a negative number, read as one without sign
    entries = _words(item.get(data), count, little_endian)
    if len(entries) < count:
        raise errors.ImageError("decode", f"a look-up table of {len(entries)} entries instead of {count}")
    return Table(first, entries[:count], bits)


def _words(value: Any, count: int, little_endian: bool) -> NDArray[np.uint16]:
    """Return a table's entries, from bytes or numbers; two entries of 8 bits may share a word."""
    if value is None:
        return np.zeros(0, dtype=np.uint16)
    if not isinstance(value, bytes):
        return np.atleast_1d(np.asarray(value)).astype(np.int64).astype(np.uint16)
    if count <= len(value) < 2 * count:
        return np.frombuffer(value, dtype=np.uint8).astype(np.uint16)
    words = np.frombuffer(value[: len(value) // 2 * 2], dtype="<u2" if little_endian else ">u2")
    return words.astype(np.uint16)


def padding_of(dataset: Any, allocated: int, signed: bool) -> tuple[int, int] | None:
    """Return between which numbers stored, these included, nothing was measured (DICOM PS3.3, C.7.5.1.1.2)."""
    found = whole_number(dataset, "PixelPaddingValue")
    if found is None:
        return None
    limit = whole_number(dataset, "PixelPaddingRangeLimit", found)
    assert limit is not None
    span = 2**allocated

    def as_stored(number: int) -> int:  # some files write it as if pixels had a sign, or had none
        number %= span
        return number - span if signed and number >= span // 2 else number

    low, high = sorted((as_stored(found), as_stored(limit)))
    return low, high


@dataclass(frozen=True)
class Palette:
    """Colours by number (DICOM PS3.3, C.7.6.3.1.5), as 8 bits each."""

    tables: tuple[Table, Table, Table]

    def colours(self, stored: Pixels) -> Pixels:
        """Return RGB, 8 bits."""
        return np.stack([table.look_up(stored) for table in self.tables], axis=-1)


def palette_of(dataset: Any, little_endian: bool) -> Palette:
    """Return a file's palette.

    Raises
    ------
    ImageError
        If it has none, or a damaged one.
    """
    tables = []
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        if f"Segmented{name}Data" in dataset:
            table = _segmented(dataset, name, little_endian)
        else:
            table = _table(dataset, f"{name}Descriptor", f"{name}Data", little_endian)
        tables.append(table)
    deep = max(int(table.entries.max()) for table in tables) > 255  # some declare 16 bits and use 8
    red, green, blue = (
        Table(table.first, (table.entries >> (8 if deep else 0)).astype(np.uint8), 8) for table in tables
    )
    return Palette((red, green, blue))


def _segmented(dataset: Any, name: str, little_endian: bool) -> Table:
    """Return a table written in segments (DICOM PS3.3, C.7.9.2): entries themselves, or lines to an entry."""
    found = numbers(dataset, f"{name}Descriptor")
    count, first, bits = (int(number) for number in found) if len(found) == 3 else (0, 0, 0)
    value = dataset.get(f"Segmented{name}Data")
    if not isinstance(value, bytes) or bits not in (8, 16) or not 0 <= count <= 2**16:
        raise errors.ImageError("decode", "a palette in segments that cannot be read")
    kind = np.dtype("u1" if bits == 8 else "<u2" if little_endian else ">u2")
    words = np.frombuffer(value, dtype=kind, count=len(value) // kind.itemsize).astype(np.int64)
    entries = np.zeros(count or 2**16, dtype=np.uint16)
    done = at = 0
    while done < len(entries):
        if at + 2 >= len(words):
            raise errors.ImageError("decode", f"a palette of {done} entries instead of {len(entries)}")
        segment, length = words[at], int(words[at + 1])
        until = min(done + length, len(entries))
        if segment == 0 and at + 2 + length <= len(words):
            entries[done:until] = words[at + 2 : at + 2 + until - done]
            at += 2 + length
        elif segment == 1 and done and length:
            start, step = float(entries[done - 1]), (float(words[at + 2]) - float(entries[done - 1])) / length
            entries[done:until] = np.rint(start + step * np.arange(1, until - done + 1))
            at += 3
        else:
            raise errors.ImageError(
                "decode", f"a palette with a segment of the kind {segment}, which is not read"
            )
        done = until
    return Table(first, entries, bits)
