"""The chest that the synthetic CT sequences are cut from: what lies where, in Hounsfield units.

Chest wall, ribs, spine, lungs with vessels and airways, heart and great vessels, diaphragm, liver, stomach,
table, noise, and opacities in diseased lungs. Sequences and their files are the matter of `ct_phantoms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from .phantoms import Picture, smooth, step, turned

AIR, PARENCHYMA, FAT, SOFT, BONE = -1000.0, -855.0, -100.0, 45.0, 320.0
"""Hounsfield units."""

LEAST, MOST = -1024, 3071
"""What 12 bits with an intercept of −1024 can hold; the former is found outside the circle that is scanned."""

LUNG = 225.0
"""Height of the lungs in millimetres, from the apex to the lowest recess, in a patient of mean size."""


def _at(z: float, table: Mapping[Any, float]) -> float:
    """Interpolate between the values at some heights."""
    return float(np.interp(z, list(table), list(table.values())))


def _rise(z: float, start: float, over: float) -> float:
    """0 above the height `start`, 1 from `over` millimetres below it on."""
    return min(max((z - start) / over, 0.0), 1.0)


class Chest:
    """One patient, cut at heights z: millimetres below the lungs' apices in a patient of mean size.

    In a slice, x runs from the patient's right to the left and y from front to back, in millimetres from the
    axis of the body.

    Parameters
    ----------
    generator : numpy.random.Generator
    size : int
        Height and width of a slice in pixels.
    diseased : bool

    Attributes
    ----------
    pixel : float
        Millimetres from pixel to pixel.
    top, bottom : float
        The heights between which a scan of the chest is made: neck and upper abdomen.
    """

    def __init__(self, generator: np.random.Generator, size: int, diseased: bool) -> None:
        def about(mean: float, spread: float) -> float:
            return float(generator.normal(mean, spread))

        self.generator, self.size = generator, size
        self.scale, self.height = about(1.0, 0.04), about(1.0, 0.05)
        field = 400 * max(self.scale, 0.95)
        self.pixel = field / size
        centres = (np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)) * np.float32(self.pixel)
        self.circle = np.hypot(centres[None], centres[:, None]) <= field / 2
        self.x = (centres[None] - np.float32(about(0, 6))) / np.float32(self.scale)
        self.y = (centres[:, None] - np.float32(about(0, 8))) / np.float32(self.scale)
        self.top, self.bottom = about(-42, 6), about(LUNG + 75, 12)
        self.fat = abs(about(14, 5)) + 4
        self.back = 112.0
        self.domes = {-1: about(146, 6), 1: about(158, 6)}
        self.steepness = about(74, 5)
        self.heart = about(1.0, 0.06)
        self.air = about(PARENCHYMA, 18)
        self.noise = abs(about(24, 4)) + 6
        self.ribs = about(0, 0.3), about(27, 1)
        self.patches, self.organs = generator.random((30, 28, 28)), generator.random((24, 9, 9))
        self.vessels = np.concatenate([self._branches(side) for side in (-1, 1)])
        self.lesions = self._lesions() if diseased else []

    def cut(self, level: float, thickness: float) -> tuple[NDArray[np.int16], Picture]:
        """Return a slice in Hounsfield units, and how much of each pixel is lung.

        Parameters
        ----------
        level : float
            Millimetres below the apices, in this patient.
        thickness : float
            Millimetres of the body whose vessels the slice shows.

        Returns
        -------
        hounsfield : ndarray of int16, shape (size, size)
        lungs : ndarray of float32, shape (size, size)
            Between 0 and 1, opacities counted in.
        """
        z = level / self.height
        lungs = self._lungs(z)
        tissue = self._wall(z)
        tissue = self._abdomen(z, tissue)
        tissue = self._mediastinum(z, tissue)
        tissue = self._bones(z, tissue)
        picture = tissue + lungs * (self._parenchyma(z, thickness) - tissue)
        picture = self._airways(z, picture)
        blurred = ndimage.gaussian_filter(picture, 0.6)
        grain = self.generator.standard_normal(picture.shape, dtype=np.float32)
        grain = ndimage.gaussian_filter(grain, 0.7) * np.float32(2.5 * self.noise)  # what blurring takes away
        louder = 1 + 0.5 * np.exp(-(((z - 5) / 25) ** 2))  # shoulders stop most of the rays
        noisy = blurred + grain * louder * (0.6 + 0.4 * smooth((blurred - AIR) / 1000))
        measured = np.clip(np.where(self.circle, noisy, LEAST), LEAST, MOST)
        return measured.round().astype(np.int16), lungs

    def _oval(
        self, x: float, y: float, rx: float, ry: float, width: float = 2.5, power: float = 2.0
    ) -> Picture:
        """One inside an ellipse, or a squarer oval for a power above 2, and 0 outside."""
        drawn = self._nothing()
        if min(rx, ry) < 1:
            return drawn
        left, right = np.searchsorted(self.x[0], (x - rx - width, x + rx + width)).tolist()
        top, bottom = np.searchsorted(self.y[:, 0], (y - ry - width, y + ry + width)).tolist()
        across = np.abs((self.x[:, left:right] - np.float32(x)) / np.float32(rx)) ** np.float32(power)
        along = np.abs((self.y[top:bottom] - np.float32(y)) / np.float32(ry)) ** np.float32(power)
        away = (across + along) ** np.float32(1 / power)
        drawn[top:bottom, left:right] = step((1 - away) * np.float32(min(rx, ry)), width)
        return drawn

    def _nothing(self) -> Picture:
        return np.zeros((self.size, self.size), dtype=np.float32)

    def _middle(self, z: float) -> float:
        """Return y of the body's middle; everyone lies on the back."""
        depth = {-60: 58.0, -30: 66, -12: 80, 0: 90, 30: 101, 70: 109, 150: 114, 230: 112, 330: 110}
        return self.back - _at(z, depth)

    def _wall(self, z: float) -> Picture:
        """Return air, table, skin, fat and muscle."""
        width = _at(z, {-60: 60.0, -38: 66, -20: 110, -5: 168, 25: 186, 60: 176, 110: 166, 170: 160, 330: 154})
        middle = self._middle(z)
        depth = self.back - middle
        table = self.y + 0.0009 * self.x**2 - self.back - 10
        shells = np.maximum(step(1.6 - np.abs(table), 1.5), step(1.6 - np.abs(table - 32), 1.5))
        mattress = step(table + 9, 2) * step(-table, 2)
        foam = np.maximum(mattress, step(table, 2) * step(32 - table, 2))
        inside_table = step(205 - np.abs(self.x), 2)
        picture = AIR + inside_table * (55 * foam + 700 * shells)
        skin = self._oval(0, middle, width, depth, power=2.35)
        fat = min(self.fat, 0.28 * depth)
        muscle = self._oval(0, middle + 0.25 * fat, width - fat, depth - 0.75 * fat, 4, power=2.35)
        rim = self._oval(0, middle, width - 2, depth - 2, power=2.35)
        layers = 20 + rim * (FAT - 20) + muscle * (SOFT - FAT)
        marbled = 60 * np.clip(self._texture(self.patches, z) - 0.62, 0, 1) * muscle
        wall: Picture = picture + skin * (layers - marbled - picture)
        return wall

    def _cavity(self, z: float, wider: float = 0.0) -> tuple[float, float, float]:
        """Return y of the middle and the half-axes of what the ribs surround."""
        rx = _at(z, {-8: 20.0, 0: 66, 20: 98, 45: 120, 80: 131, 130: 138, 230: 138, 330: 132})
        ry = _at(z, {-8: 10.0, 0: 34, 20: 56, 45: 72, 80: 83, 130: 90, 230: 90, 330: 86})
        y = self._middle(z) + _at(z, {0: 14.0, 45: 5, 110: -2, 330: -6})
        return y, rx + wider, ry + wider

    def _lungs(self, z: float) -> Picture:
        """Return both lungs between 0 and 1: cones at the top, cut by the diaphragm's domes below."""
        y, rx, ry = self._cavity(z)
        cone = _rise(z, 0, 22)
        if z <= -4 or z >= LUNG + 10:
            return self._nothing()
        cage = self._oval(0, y, rx * (0.4 + 0.6 * cone), ry * (0.3 + 0.7 * cone), power=2.2)
        spine = y + ry - 22
        narrow = _at(z, {0: 27.0, 40: 21, 80: 17, 200: 15})
        across = np.abs(self.x) - narrow - 13 * np.exp(-(((self.y - spine + 25) / 34) ** 2))
        lungs = cage * step(across, 3) * (1 - self._oval(0, spine, 27, 30))
        for side, top in self.domes.items():
            lungs = lungs * (1 - self._dome(z, side, top))
        in_front = y - ry - 10 + (2 * ry + 15) * _rise(z, 168, LUNG - 166)
        lungs = lungs * (1 - self._heart(z)) * step(self.y - np.float32(in_front), 12)
        free: Picture = np.where(lungs > 0.02, lungs, 0)
        return free

    def _dome(self, z: float, side: int, top: float) -> Picture:
        """Return one half of the diaphragm and what lies below it; the recess behind closes last."""
        below = (z - top) / self.steepness
        if below <= 0:
            return self._nothing()
        grown = float(np.sqrt(1 - (1 - below) ** 2)) if below < 1 else 0.9 + 0.1 * below + 0.6 * (below - 1)
        y, _, ry = self._cavity(z)
        blur = 4 + 14 * max(0.0, 1 - below * 2)  # a slice cuts the top at a slant
        half = side * self.x > -2
        return self._oval(side * 72, y - 9, 76 * grown, (ry + 10) * grown, blur, power=2.2) * half

    def _heart(self, z: float) -> Picture:
        """Return the heart, its tip to the left and the front."""
        high = 1 - ((z - 150) / 54) ** 2
        if high <= 0:
            return self._nothing()
        grown = self.heart * float(np.sqrt(high))
        y, _, ry = self._cavity(z)
        along, off = turned(self.x - 20, self.y - (y - 0.30 * ry), -0.45 + np.pi)
        away = np.hypot(along / (62 * grown), off / (46 * grown))
        return step((1 - away) * 46 * grown, 4)

    def _mediastinum(self, z: float, tissue: Picture) -> Picture:
        """Put fat, vessels and the heart between the lungs."""
        y, rx, ry = self._cavity(z)
        if z < -6:
            return tissue
        between = self._oval(0, y, min(rx, 62), ry - 3) * (1 - _rise(z, self.domes[-1] + 25, 30))
        picture = tissue + between * (FAT + 25 - tissue)
        spine = y + ry - 22
        vessels = [self._heart(z)]
        if 52 < z < 78:  # the aorta's arch, from the front on the right to the back on the left
            along, off = turned(self.x - 6, self.y - (y + 2), 0.95)
            vessels.append(step(13 - np.hypot(np.clip(np.abs(along) - 24, 0, None), off), 2.5))
        if z >= 74:
            vessels.append(self._oval(24, spine - 24, 11.5, 11.5))
        if 70 < z < 122:
            vessels.append(self._oval(-16, y - 22, 15, 15))
        if 84 < z < 122:
            vessels.append(self._oval(16, y - 26, 14, 13))
            arms = np.hypot(self.x / 42, (self.y - y + 4) / 10)
            vessels.append(step((1 - arms) * 10, 3))
        if 20 < z < 130:
            vessels.append(self._oval(-31, y - 12, 8, 8))
        if z < 55:
            vessels.extend(self._oval(x, y - 14, 6, 6) for x in (-26, -9, 14, 27))
        vessels.append(self._oval(6, spine - 32, 7, 5))  # the oesophagus
        soft = np.maximum.reduce(vessels)
        filled: Picture = picture + soft * (SOFT - 3 - picture)
        return filled

    def _airways(self, z: float, picture: Picture) -> Picture:
        """Put in the trachea, which divides at 88 mm, with walls."""
        y, _, ry = self._cavity(max(z, 0))
        where = self._middle(z) + 4 if z < 0 else y + 0.18 * ry
        where += 0.1 * max(z, 0)
        tubes = []
        if z < 88:
            tubes.append((0.0, 8.5, 8.0))
        elif z < 122:
            apart = 9 + 0.75 * (z - 88)
            tubes += [(-apart, 7.5, 5.5), (apart, 7.0, 5.0)]
        for x, rx, ry in tubes:
            picture = picture + self._oval(x, where, rx + 2, ry + 2) * (20 - picture)
            picture = picture + self._oval(x, where, rx, ry, 2) * (AIR + 10 - picture)
        return picture

    def _abdomen(self, z: float, tissue: Picture) -> Picture:
        """Put in what lies below the domes: liver, spleen, stomach with gas, kidneys, bowel in fat."""
        right, left = (self._dome(z, side, self.domes[side]) for side in (-1, 1))
        y, rx, ry = self._cavity(z)
        inside = self._oval(0, y, rx, ry, power=2.2) * np.maximum(right, left)
        if z > LUNG:
            inside = np.maximum(inside, self._oval(0, y, rx, ry, power=2.2) * _rise(z, LUNG, 25))
        loops = self._texture(self.organs, z)
        bowel = step(loops - 0.5, 0.05)
        gas = step(loops - 0.78, 0.03) * step(y - 5 - self.y, 6) * _rise(z, LUNG, 20)
        filling = FAT + bowel * (SOFT - 10 - FAT)
        filling = filling + gas * (AIR + 60 - filling)
        late = _rise(z, 250, 90)
        liver = self._oval(-66, y - 6, 82 - 26 * late, ry + 2 - 22 * late, 4, power=2.2) * step(34 - self.x, 12)
        spleen = self._oval(92, y + 34, 36, 42, 3) * (1 - _rise(z, 260, 20))
        stomach = self._oval(54, y - 24, 42, 38, 3) * (1 - _rise(z, 275, 20))
        bubble = self._oval(54, y - 24, 37, 33, 3) * step(y - 34 - self.y, 2) * _rise(z, 178, 20)
        bubble = bubble * (1 - _rise(z, 265, 20))
        kidneys = np.maximum(*(self._oval(side * 56, y + 40, 25, 22, 3) for side in (-1, 1)))
        kidneys = kidneys * _rise(z, LUNG + 22, 15)
        for organ, value in ((spleen, 50), (stomach, 30), (bubble, AIR + 30), (liver, 58), (kidneys, 34)):
            filling = filling + organ * (value - filling)
        shown: Picture = tissue + inside * (filling - tissue)
        return shown

    def _bones(self, z: float, tissue: Picture) -> Picture:
        """Put in spine, ribs, sternum, shoulder blades, collar bones and the heads of the arms."""
        y, rx, ry = self._cavity(max(z, 0), wider=7)
        spine = self._middle(z) + 12 if z < 0 else y + ry - 28
        disc = 0.35 + 0.65 * _rise(float(np.cos(2 * np.pi * z / 24)), -0.95, 0.4)
        body = self._oval(0, spine, 18, 15)
        marrow = self._oval(0, spine, 15, 12)
        process = np.maximum(self._oval(0, spine + 36, 4, 17), self._oval(0, spine + 20, 26, 5))
        canal = self._oval(0, spine + 20, 9, 7)
        bone = np.maximum(body - 0.45 * marrow, process) * disc
        if z > -10:
            start, gap = self.ribs
            angle = np.abs(np.arctan2(self.x, self.y - y))  # 0 behind, π in front
            phase = np.cos(2 * np.pi * (z / gap + start) - 7 * angle)
            off = (np.hypot(self.x / rx, (self.y - y) / ry) - 1) * min(rx, ry)
            strength = step(phase - 0.15, 0.5) * (1 - _rise(z, LUNG + 50, 20)) * step(2.75 - angle, 0.2)
            ribs = (step(4.5 - np.abs(off), 2) - 0.5 * step(2.5 - np.abs(off), 2)) * strength
            bone = np.maximum(bone, ribs)
        if 25 < z < 175:
            bone = np.maximum(bone, 0.7 * self._oval(0, y - ry - 1, _at(z, {25: 26.0, 50: 16, 175: 13}), 6))
        for side in (-1, 1):
            if -5 < z < 120:
                along, off = turned(side * self.x - 104 + 0.1 * z, self.y - self._middle(z) - 52, 0.95)
                blade = step(30 - np.abs(along), 3) * step(3 - np.abs(off + 0.004 * along**2), 2)
                bone = np.maximum(bone, 0.85 * blade)
            if -14 < z < 22:
                reach = 25 + 3.2 * (22 - z)
                along, off = turned(side * self.x - reach, self.y - self._middle(z) + 42, -0.25)
                bone = np.maximum(bone, 0.8 * step(24 - np.abs(along), 3) * step(5 - np.abs(off), 2))
            if -12 < z < 26:
                bone = np.maximum(bone, 0.8 * self._oval(side * 142, self._middle(z) + 16, 20, 20))
        bone = bone * step(tissue - np.float32(FAT - 60), 60)  # not through the skin
        picture = tissue + bone * (BONE - tissue) + 200 * np.clip(bone - 0.8, 0, 1)
        hollow: Picture = picture + canal * (25 - picture)
        return hollow

    def _parenchyma(self, z: float, thickness: float) -> Picture:
        """Return what the lungs are filled with: air in tissue, vessels, and the opacities of a disease."""
        y, _, ry = self._cavity(z)
        texture = self._texture(self.patches, z)
        filling = self.air + 45 * (self.y - y) / ry + 50 * (texture - 0.5)
        filling = filling + self._vessels(z, thickness) * (SOFT - 10 - filling)
        for x, depth, level, radius, density in self.lesions:
            away = np.hypot(self.x - x, (self.y - depth) * 1.2) ** 2 + (1.1 * (z - level)) ** 2
            cloud = np.exp(-((away / radius**2) ** 2)) * np.clip(2.4 * texture - 0.45, 0, 1.2)
            filling = filling + np.clip(density * cloud, 0, 0.95) * (SOFT - filling)
        return filling

    def _lesions(self) -> list[tuple[float, float, float, float, float]]:
        """Return x, y, z, radius and density of opacities, from ground glass to consolidation, most behind."""
        lesions = []
        for _ in range(int(self.generator.integers(3, 8))):
            level, side = float(self.generator.uniform(45, 165)), float(self.generator.choice([-1, 1]))
            angle, out = self.generator.uniform(-0.4, 1.3), self.generator.uniform(0.6, 0.95)
            radius, density = self.generator.uniform((16, 0.5), (36, 1.3)).tolist()
            y, rx, ry = self._cavity(level)
            x = side * (24 + (rx - 24) * out * np.cos(angle))
            lesions.append((float(x), float(y + ry * out * np.sin(angle)), level, radius, density))
        return lesions

    def _branches(self, side: int) -> NDArray[np.float64]:
        """Return x, y, z and radius of points along one lung's vessels, which leave the hilum and divide."""
        g = self.generator
        hilum = np.array([side * 34.0, self._cavity(105)[0] + 2, 105.0])
        along = np.linspace(0, 1, 60)[:, None]
        found = []
        for _ in range(30):
            towards = g.normal((0.75 * side, 0, 0), (0.6, 0.9, 1.0))
            towards *= g.uniform(75, 130) / np.linalg.norm(towards)
            path = hilum + g.normal(0, (4, 7, 15)) + along * towards + along**2 * g.normal(0, 16, 3)
            found.append(np.hstack([path, 3.0 * (1 - 0.8 * along)]))
            for _ in range(7):
                start = int(g.integers(10, 50))
                turn = towards * g.uniform(0.25, 0.5) + g.normal(0, 26, 3)
                size = found[-1][0, 3] * (1 - 0.8 * start / 60) * 0.62
                found.append(np.hstack([path[start] + along * turn, size * (1 - 0.6 * along)]))
        return np.concatenate(found)

    def _vessels(self, z: float, thickness: float) -> Picture:
        """Return the vessels that a slice meets, between 0 and 1."""
        px = self.pixel / self.scale
        near = self.vessels[np.abs(self.vessels[:, 2] - z) < self.vessels[:, 3] + thickness / 2]
        columns = np.round((near[:, 0] - self.x[0, 0]) / px).astype(int)
        rows = np.round((near[:, 1] - self.y[0, 0]) / px).astype(int)
        inside = (columns >= 0) & (columns < self.size) & (rows >= 0) & (rows < self.size)
        drawn = self._nothing()
        for least, most in ((0.0, 0.8), (0.8, 1.6), (1.6, 9.0)):
            chosen = inside & (near[:, 3] >= least) & (near[:, 3] < most)
            if chosen.any():
                sigma = max(0.65 * float(near[chosen, 3].mean()) / px, 0.55)
                points = np.zeros_like(drawn)
                points[rows[chosen], columns[chosen]] = 1
                spread = ndimage.gaussian_filter(points, sigma, truncate=2.5) * np.float32(2 * np.pi * sigma**2)
                drawn = np.maximum(drawn, np.clip(spread, 0, 1) * np.float32(min(1.0, 0.35 + 0.45 * least)))
        return drawn

    def _texture(self, coarse: NDArray[np.float64], z: float) -> Picture:
        """Return a slice of smooth random values between 0 and 1."""
        at = (z + 70) / 430 * (len(coarse) - 1)
        first = min(max(int(at), 0), len(coarse) - 2)
        share = min(max(at - first, 0.0), 1.0)
        mixed = (coarse[first] * (1 - share) + coarse[first + 1] * share).astype(np.float32)
        resized = Image.fromarray(mixed).resize((self.size, self.size), Image.Resampling.BICUBIC)
        texture: Picture = np.asarray(resized).clip(0, 1)
        return texture
