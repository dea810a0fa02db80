"""Which frames of a volume or sequence are taken: the rules of `--frames`, COVID-CTset's open-lung among them.

The rules know no files and no order: frames go by their place in the sequence that they are given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .picture import CT, X_RAY, Picture, Pixels

AERATED = -500.0
"""Hounsfield units below which the default open-lung rule counts a pixel of a CT.

The border between normally and poorly aerated lung (Gattinoni et al., AJRCCM 164:1701, 2001), and what optimal
thresholding of the chest comes to (Hu, Hoffman and Reinhardt, IEEE TMI 20:490, 2001).
"""

_RULE = re.compile(r"(all|middle|open-lung)|every:(\d{1,9})|open-lung:([+-]?\d{1,9}(?:\.\d{1,9})?)", re.ASCII)
_CELLS = 64  # a frame is kept as at most 64×64 cells, 16 KB, until the whole sequence was seen
_INSTEAD = "give open-lung:T with T in the pictures' own numbers, or all, middle or every:N"


@dataclass(frozen=True)
class Rule:
    """A rule by which frames are taken; made by `parse`.

    Parameters
    ----------
    text : str
        Its canonical spelling: `all`, `middle`, `every:N`, `open-lung` or `open-lung:T`.
    step : int
        The N of `every:N`; 1 for the others.
    threshold : float, optional
        The T of `open-lung:T`.
    """

    text: str
    step: int = 1
    threshold: float | None = None

    @property
    def needs_pixels(self) -> bool:
        """Whether the whole sequence must be seen before one frame can be chosen."""
        return self.text.startswith("open-lung")

    def choose(self, count: int) -> tuple[int, ...]:
        """Return the frames taken of a sequence of `count`, for a rule that needs no pixels.

        `middle` takes number count // 2; `every:N` takes 0, N, 2N and so on.
        """
        assert not self.needs_pixels, self.text
        if self.text == "middle":
            return (count // 2,)
        return tuple(range(0, count, self.step))


def parse(text: str) -> Rule:
    """Return the rule that a user typed: `all`, `middle`, `every:N`, `open-lung` or `open-lung:T`.

    Raises
    ------
    UsageError
        If it is none of these, N is not a whole number above 0 or T is not a number.
    """
    found = _RULE.fullmatch(text.strip().lower())
    if found is None:
        raise errors.UsageError(
            f"There is no way of taking frames called {text!r}. Give all, middle, every:N with a whole number "
            "N, open-lung, or open-lung:T with a number T, such as open-lung:300."
        )
    name, step, threshold = found.groups()
    if name:
        return Rule(name)
    if step:
        if int(step) == 0:
            raise errors.UsageError("every:0 takes no frame. Give every:N with N from 1 on.")
        return Rule(f"every:{int(step)}", step=int(step))
    number = float(threshold) + 0.0  # no minus before a zero
    return Rule(f"open-lung:{number:.9f}".rstrip("0").rstrip("."), threshold=number)


class Evidence(NamedTuple):
    """What the open-lung rules need to know of one frame: all that is kept of it until the last one was seen.

    Parameters
    ----------
    region : int
        Pixels measured in COVID-CTset's region.
    darker : int
        How many of them are darker than the rule's T; 0 where it names none.
    cells : ndarray of float32, shape (r, c), r and c at most 64
        The frame made smaller by averaging; not a number where nothing was measured. Empty where the rule
        names T.
    least, most : float
        The smallest and the largest number measured in the frame.
    bits : int
    kind : str
        Of the picture.
    """

    region: int
    darker: int
    cells: NDArray[np.float32]
    least: float
    most: float
    bits: int
    kind: str


def evidence(rule: Rule, picture: Picture) -> Evidence:
    """Return what an open-lung rule needs to know of one frame.

    Raises
    ------
    ImageError
        If the frame is in colour, or a radiograph.
    """
    pixels = picture.pixels
    if pixels.ndim != 2:
        raise errors.ImageError("frames", "open-lung needs grey slices, and this one is in colour")
    if picture.kind == X_RAY or picture.inverted:
        raise errors.ImageError(
            "frames", "open-lung needs slices of a CT, and this is a radiograph or inverted"
        )
    measured: NDArray[np.bool_] = np.isfinite(pixels)
    if picture.padding is not None:
        measured &= ~picture.padding
    values = pixels[measured]
    least, most = (float(values.min()), float(values.max())) if values.size else (np.nan, np.nan)
    here = _region(pixels.shape)
    counted = int(np.count_nonzero(measured[here]))
    darker, cells = 0, np.zeros((0, 0), dtype=np.float32)
    if rule.threshold is None:
        cells = _averaged(pixels, measured)
    else:
        darker = int(np.count_nonzero((pixels[here] < rule.threshold) & measured[here]))
    return Evidence(counted, darker, cells, least, most, picture.bits, picture.kind)


def choose_open_lung(rule: Rule, sequence: Sequence[Evidence]) -> tuple[int, ...]:
    """Return the frames of a CT sequence that show the lung open, as COVID-CTset chose them.

    Each frame has a count of dark pixels. With mx and mn the largest and the smallest count in the sequence,
    the frames are kept whose count is strictly greater than (mx − mn) / 1.5. So every frame is kept where even
    the emptiest has more than 0.4 mx, as in a sequence of open lungs alone, and where all are alike; and as
    long as there is a dark pixel at all, the frame with most of them is kept.

    `open-lung:T` is the published rule to the letter: the pixels darker than T (in Hounsfield units for a CT,
    else in the file's own numbers) within rows 240–339 and columns 120–369 of 512×512, kept as fractions of
    the frame's size. The paper's own T is 300, in raw units of its scanner: −724 HU.

    `open-lung` differs in two ways, so as to fit other scanners, and patients who lie elsewhere in the picture.
    T is −500 HU for a CT, else `valley` of the sequence. And the pixels are counted wherever the body surrounds
    them, not in a fixed region: a region in the middle is as full of lung below the apex, where the mediastinum
    is narrow, as between hilum and diaphragm, and so tells where the lung lies more than how open it is. The
    counts are made on averages of pixels, and as shares of the frame.

    Parameters
    ----------
    rule : Rule
        One that needs pixels.
    sequence : sequence of Evidence
        Of every frame, by the same rule.

    Raises
    ------
    ImageError
        If the rule can say nothing about the sequence: 8-bit pictures or values between 0 and 1 without a T of
        their own, no valley between air and tissue, every pixel darker than T, or none.

    References
    ----------
    Rahimzadeh, Attar and Sakhaei, "A fully automated deep learning-based network for detecting COVID-19 from a
    new and large lung CT scan dataset", Biomedical Signal Processing and Control 68:102588, 2021, section 3 and
    its code, which compares with ">".
    """
    assert rule.needs_pixels, rule.text
    least = min((frame.least for frame in sequence if frame.region), default=np.nan)
    most = max((frame.most for frame in sequence if frame.region), default=np.nan)
    if not most > least:
        raise errors.ImageError(
            "frames",
            f"{rule.text} needs pixels that differ, and all of the sequence are {most:g}; "
            "give all, middle or every:N",
        )
    if rule.threshold is None:
        threshold = threshold_of(sequence)
        counts = np.array([_share_of_lung(frame.cells, threshold) for frame in sequence])
    else:
        threshold = rule.threshold
        counts = np.array([frame.darker for frame in sequence])
        if all(frame.darker == frame.region for frame in sequence):
            raise errors.ImageError(
                "frames",
                f"{rule.text} would keep every slice: all pixels of the region are darker than {threshold:g}, "
                f"as the sequence's values run from {least:g} to {most:g}; give open-lung:T with a smaller T, "
                "or all, middle or every:N",
            )
    kept = counts > (counts.max() - counts.min()) / 1.5
    if not kept.any():
        where = "within the body" if rule.threshold is None else "in the region"
        raise errors.ImageError(
            "frames",
            f"{rule.text} keeps no slice: no pixel {where} is darker than {threshold:g}, as the sequence's "
            f"values run from {least:g} to {most:g}; {_INSTEAD}",
        )
    return tuple(np.flatnonzero(kept).tolist())


def threshold_of(sequence: Sequence[Evidence]) -> float:
    """Return the T of the default rule: −500 HU where all frames are CTs, else `valley` of the frames' middles.

    The middle half of the rows and columns lies within the circle that a scanner sees, so that whatever fills
    the corners plays no part.

    Raises
    ------
    ImageError
        If the pictures have 8 bits or values between 0 and 1, so that they were made for looking at, in a
        window that nobody knows; or if there is no valley.
    """
    if all(frame.kind == CT for frame in sequence):
        return AERATED
    if any(frame.bits <= 8 for frame in sequence):
        raise errors.ImageError("frames", f"open-lung finds no threshold in 8-bit pictures; {_INSTEAD}")
    measured = [frame for frame in sequence if frame.region]
    if all(frame.least >= 0 and frame.most <= 1 for frame in measured):
        raise errors.ImageError("frames", f"open-lung finds no threshold in values between 0 and 1; {_INSTEAD}")
    return valley([frame.cells[_middle(frame.cells.shape)] for frame in measured])


def valley(samples: Sequence[NDArray[np.float32]]) -> float:
    """Return the value midway between what is air and what is tissue.

    Two classes by Otsu's criterion, on the values between the 0.5th and the 99.5th percentile (metal would be a
    class of its own); the threshold is the middle of their means, which is where the iteration of Ridler and
    Calvard comes to rest, too. Only differences count: a scanner's offset moves it by as much.

    Parameters
    ----------
    samples : sequence of ndarray
        Values of any shapes; those that are infinite or not a number are passed over.

    Raises
    ------
    ImageError
        If there are not two classes: of bins a fifth of the means' distance wide, the one around the threshold
        holds more than three quarters as many values as the fullest on either side.

    References
    ----------
    Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9:62, 1979; Ridler and Calvard, same 8:630, 1978.
    """
    values = np.concatenate([sample.ravel() for sample in samples]).astype(np.float64)
    values = np.sort(values[np.isfinite(values)])
    refusal = errors.ImageError("frames", f"open-lung finds no valley between air and tissue; {_INSTEAD}")
    if len(values) < 2:
        raise refusal
    values = np.clip(values, *np.percentile(values, [0.5, 99.5]))
    below = np.arange(1, len(values))
    sums = np.cumsum(values)
    dark = sums[:-1] / below
    bright = (sums[-1] - sums[:-1]) / (len(values) - below)
    best = int(np.argmax(below * (len(values) - below) * (bright - dark) ** 2))
    means = np.array([dark[best], bright[best]])
    threshold, width = float(means.mean()), float(means[1] - means[0]) / 5
    if width <= 0:
        raise refusal
    steps = np.floor((values - threshold) / width + 0.5).astype(np.int64)  # 0 around the threshold
    air, around, tissue = (
        np.bincount(np.abs(steps[side])).max(initial=0) for side in (steps < 0, steps == 0, steps > 0)
    )
    if around > 0.75 * min(air, tissue):  # about 1 for one class, be it uniform or normal
        raise refusal
    return threshold


def _region(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return rows 240–339 and columns 120–369 of 512×512 as the same part of a frame; at least one pixel."""
    height, width = shape
    top, left = round(240 * height / 512), round(120 * width / 512)
    bottom, right = round(340 * height / 512), round(370 * width / 512)
    return slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))


def _middle(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the middle half of the rows and of the columns."""
    height, width = shape
    return slice(height // 4, height - height // 4), slice(width // 4, width - width // 4)


def _averaged(pixels: Pixels, measured: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a frame as cells, each the average of what was measured in a rectangle of pixels."""
    height, width = pixels.shape
    tall, wide = -(-height // _CELLS), -(-width // _CELLS)
    whole = (slice(height // tall * tall), slice(width // wide * wide))
    parts = (height // tall, tall, width // wide, wide)
    counts = measured[whole].reshape(parts).sum(axis=(1, 3))
    cells: NDArray[np.float32] = np.full(counts.shape, np.nan, dtype=np.float32)
    with np.errstate(over="ignore"):  # values beyond float32 become infinite, and no threshold is found in them
        sums = np.where(measured, pixels, 0)[whole].reshape(parts).sum(axis=(1, 3), dtype=np.float64)
        np.divide(sums, counts, out=cells, where=counts > 0, casting="same_kind")
    return cells


def _share_of_lung(cells: NDArray[np.float32], threshold: float) -> float:
    """Return the share of cells that are darker than the threshold and have the body on all four sides.

    The body is the largest connected piece of what is not dark, so that neither the air around the patient nor
    the table counts; a lung cut by the picture's edge still counts in those rows and columns that go on beyond.
    """
    from scipy import ndimage  # takes as long as a thousand images that are known already

    corners = cells[[0, 0, -1, -1], [0, -1, 0, -1]]
    tissue = (cells >= threshold) & ~np.isin(cells, corners)  # exactly as a corner: filled in, not measured
    pieces, count = ndimage.label(tissue)
    if count == 0:
        return 0.0
    body = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    seen = np.logical_or.accumulate
    down, up = seen(body, axis=0), seen(body[::-1], axis=0)[::-1]
    right, left = seen(body, axis=1), seen(body[:, ::-1], axis=1)[:, ::-1]
    return float(np.mean((cells < threshold) & down & up & right & left))
