"""Canaries: three small images embedded here, whose vectors tell whether a network still computes the same.

Their vectors are stored when a cache is made and computed again before anything is added to it. As bytes of
a colour PNG, a JPEG and a 16-bit PNG they try the whole path from decoding on.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .decode import Preparation

Vectors = Mapping[str, NDArray[np.float32]]
"""The canaries' vectors, shape (3, d), for each layer."""

TOLERANCE = 1e-3
"""The largest ‖v − v₀‖₂ / ‖v₀‖₂ that still counts as the same network; engines agree to 1e-5 in float32."""


def pixels(preparation: Preparation) -> NDArray[np.float32]:
    """Return the three canaries as the network sees them, shape (3, h, w, 3), values 0–255."""
    frames = [preparation.frames(base64.b64decode(text))[1][0] for text in (_PNG, _JPEG, _DEEP)]
    return np.stack([frame.pixels for frame in frames])


def drift(now: Vectors, then: Vectors) -> float:
    """Return the largest relative distance between two sets of canary vectors, over layers and canaries."""
    distances = [0.0]
    for layer in now.keys() & then.keys():
        a, b = now[layer].astype(np.float64), then[layer].astype(np.float64)
        distances.append(float(np.max(np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1))))
    return float(np.max(distances))  # unlike max(), not a number stays one, and is refused


def check(now: Vectors, then: Vectors, where: str, *, accept: bool) -> float:
    """Refuse to go on if the network no longer computes what it did; return by how much it drifted.

    Parameters
    ----------
    now, then : mapping of str to ndarray of float32, shape (3, d)
        Vectors of the canaries by this engine, and as they were stored.
    where : str
        What they are stored in, for the message.
    accept : bool
        Go on all the same.

    Raises
    ------
    CanaryDrift
    """
    distance = drift(now, then)
    if not accept and not distance <= TOLERANCE:
        raise errors.CanaryDrift(
            f"This machine's network computes vectors {distance:.1e} away from those in {where} (allowed: "
            f"{TOLERANCE:.0e}): a library, a driver or the weights changed. Write to another file, or mix both "
            "kinds with --accept-drift."
        )
    return distance


_PNG = """
iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAADF0lEQVR42s2aIXTyMBDHb3sTkZGVlZXIyMrKykpkJRKJRCInJysrkchIJLKy
MjLyE0vgvsHWo7mSnOAV3tH+epdL8k/yBpABgABI5FMZ+LaLJPm/Q0qG6SlmDXy4F0mBfnQX5wwEgcqOKWWgRPQk8/5JZKAc3IXOSbEH7y/y
BDJQIXqKCUQfPwPVxV2cClLshfeHwnVDMTNQI3qKSUwPMWqgNbfe0Q7GtwRZUXpM5G+luf4eJwOYJtA/Qg0w0CPmaDUQHvuY40AovcAvsIjp
37pNxtgvkQH9ojpZIAM6VpWHZ0DzNj4SPV8vFIMe+/dBGYhHLwAAbBeUgcixhy6oBlKhF+s5GYjd7q/+6wT0wGx6aGfqAZ0Kvbc3WD+1LqS5
1n+ag/omOG7u76nu/bODf43N/HUhtvBjesqDMH382Wizd/T9VlN0cLZ3F2b7QDdH0wP9lpTPHNEHzoU4y7fbTcZeA6h8576Mu1/XLCJkoNuR
YlEg+pfpATYrtq5Ohv3EetF7gvQrRP8CPcBNv3H0lwNprS6x/YEbPalO7Cap/YHW0Z8/SeODbVPKQInoSX9on64BxT6RvtGvHb3+usZe/fWH
tdcDXynsDyB6ir9A9PF7oapx9KeO1O5Fg0TZ83pA8dLXiJ7yINn8lJSPM2Ba83Nc/JTssa9rP6PuSbGX9W0pRQSsC/EkoUH0lEdkiH7WSMxa
J03l9cCRpgf8Bo458ugBniT0R025eY7oA+ZCgnlM6E4PY39HX/oZ9YlfD6gQesoNC0QfPBsVS4/Nd/T+h0EvqwfUEvQrRM+kB8Tk4zXX+69W
7uJyJumBD9Y2oANTpxA9SQ+smMcBNbWE8VeTU/4AwflCOy9UcGYgtDZKRE+T/fFG4gf0uU/cQDsv5P3FkIIeQPQkPYDo42eg8gfMTiPtvND1
QNqYwnkhRE8xiekhdg3UXmIcDSn20vtbE6QHmGbUiJ5iGaJPQA/4u/WWFPvM+xib1P6AJbnliJ46F5KjhP/3p9itA1Lsc9zlJLQ/8NxQCyPD
bPTlVvgGM4gJwCT3BxD9pP0DMrkTSvofqvIAAAAASUVORK5CYII=
"""

_JPEG = """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYnKSopGR8t
MC0oMCUoKSj/2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCj/wAAR
CABIAEgDASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEG
E1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWG
h4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEB
AQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYk
NOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0
tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDorzwldSJgIfyqpFoU2nxN5gxXYXni/wAl
CfL/AErzjxd4/dnMapjPHSvaxssbjqbpKOh62X1sxwr5ZQ0OW1O5Wz15ZHPCtXXa9rsGvaEtnbsDIVxisBPDz6/ZNd9CRmszQNNn0nVCZMlV
Nfn1bKout7Rv3oGHEWcYfNqajH+JT6Frw1os2js7zLgHmrljfIddjGf4qs+JdcDIsaLjtVHTNILL/aGfu/NXtUoyxMHOru9D57JMW8PW+s4v
RvQ9e1xd/h9WH92vn7xDo015qYZFJAau2Hjtrj/iXn+H5aydV1X7Ed+zOfauHDZDjMG2uXV7HTLLsVVzCOJij0T4falHpOmRxTMAwFFeSnxH
NLygIFFeFiOCKteo6k1qz7dYWlP3qj1PpjVNI0e7hZbd0Zsdq8r8U+FrOCbdMAOeM1yfg7xNqOn3yvqErmMdcmtT4h+K49XEf2J+R1xX22V1
a9PFKip80X1PLwuY08RiFh6U+aL6nR+HI2jRYLcZjPFb+t+HYIdONwVAcjNcn4F1uG1s1Nzyw9a6bXfFFvqGnmCFhnGK9DM8tqVp/uo+rODB
YKFXNHBQ0vq+55tdWsM07BiODWpHui05o1HyYqXTfDtzfys8ecZrZ1GySx0uSGUfvNtcdOnHBVUpu+p5fF+W2xihhndX2POdKsbaTVmYEFy1
d43hm3vYAZV7V5npolsddaaQny91ezaFeLqdpiA8gV9NmWYUnyuD+Y8e8TgMLfm1tv2OdHhfTYflbbRVDxRJPa3bLvI5oop4ZVYqanufn8oZ
tWfPGs7MreLNIU2ZMPB9q4rR9Nk8/bKT1713Hh6+Os3KwyHINaPinwtcWZSW0jOOvAr4PK6FbBVFQqvVnpcOfXcPV+rLdl3QvB5u7EOp7VWu
vDzadKSWPBrqfCGrpY6aIrpgsmMYNQ6nIL2RmB+U19LRzmrhZNVX7p9ZLFZhh3JUviKGj+JV0obCM5qPxDcnUrV7leBjNVLrS43kBzXRLpcZ
0N1H92vGzXNMNiWpUfiZ5WYTxqgqyT9ozy7RLIazqhtycc4rtNTYeB7UHOciuNtFm0vW3kt853dqk8Z6jc6tCEuQeBV4fL68sRHmf7t7o+gw
X72CoZg9Gtirfa2NZkMpOM0Vx32O+hyIFYrRX2kMPGCtCSSPNq5Fied+waUeh3Pguxn0i/SW4yFB717WPFOky6fsm2Fsd6wfHeiRWGnvJERk
CvFXv5C7LubOegrg/s2nnP7/AGsfRcOZZQzC+Jre60dL4nuJ7rWg1ixEW7tXa6VbTSacmT82K8ssNTmjkGUJ59K7ay8UyW9uAUPT0rzeJcrr
LDxp01sbY2jjKOJTpwvFbM07mKaAlnPSqaeL4kY2Rf5zxXN674wklyiqeawbPSJrm4GoliNp3Yr5jJMnanzYrTseLVxeK+tXxELR6ep6dpmh
PJc/a5VzG3NJ4h0RLpgYEHHpVDQfGZm22DLjbxmrWv8AiH+y0G0bt1faxwmJdRK2vQ+bzjCZlicZHESjZrZeRBbW1pZoEuEXcPWisqOWTVx5
uCM0V0vLdfflZmTz+dL3Kjs0Jf8Aii81JfJuWJB961vB/he2v3LSqDmiivUx6+q0H7HQ/R+PX/Z2GX1X3fQ6R/BdnFdgCMY+lWdY8JWsVoCq
AcelFFfDZrjKzjG8jlnjKzy2lJy1aOPl8MWzliUHFYcz/ZbsWicITiiiubJakqtZqbvY1yv/AGi/tdbIv6jpEWnWQvYhiQjOaf4Xtl8Qki5G
7HrRRX3OHqSeElVb95F453yirW+0tmdtbaFBZqERQBRRRXF7WUtWz+b8ViKkqrbZ/9k=
"""

_DEEP = """
iVBORw0KGgoAAAANSUhEUgAAADAAAAAwEAAAAAAi+XoYAAAGiUlEQVR42tVYu60kyRGMrGmVIMATKBFoUDjglLUhHODumTCmhCntAXeXDqRI
E45aG/I6g0JW9cweTqXAaWDefN5UZmVlxqfjEyzTWSxd+OAHPvDBKwtFy8R8RA5t2rBhywcGQOelC5c+slQEAoMPPXLkg5GByBA48HoQAMH7
9Xqe38bbO+cPn88r+tfpRCL773ZnSGgtG0SCQSeAvMMTRAJOI+bPV1oh5J1AAhDgDJrbW/YAgoEAGApYQcB6y7N/njPLe9czHDo8iPSqALfe
mnMWZz0D6B3MZ8399TLpDHXYYDCyTymEBKwO0qnEJ0GmUay88KGLH/zghULRaZhIIBQYGLnpwQcfGgmZVqHyyoITCQUGQ8FBZAgKAhtm7UOR
gfdrsHRXNYFZ5XQaBgAhkcEhyJ0xIchZAiKhLlHXEBYSnEHWSRAIuhPIEOC0QKMyBHbI0ABoISGnEzCQ6ORmFzH4voNBAywOOT17J7Iztkyv
3kpk5ADkLjQhwzTB1aqPvz4BACcOHzh81uH0ad7H/QzFEUfscYbi7FcAEAf2UOyB2IdCcYJ+QkaxnmbRh7G9hicIvZ/FYOUsUe8yQ9DnDA0F
ZyEz8l8CQaMUGSw5raIFWcj4lABgTLDghSsvXDIrDdDsHg9CXxAIjrU4g4PBAPQdhnnxwoWLpaLTNJEbEuq6dlMansUJglb04oS+CBkZedef
cXfgF3zDOq3ZZ9knsdUcfqNYME3TMEwLih57Bj8zgG4CBSKRAWTnj3T+A1/vMQ0FkKAz8vHT7rOexdqtOq+jsp61+zQhAIqM58hfMY7QOMY5
jjgGBoJDo1NIwLvPn/ff9no6ceDEc7XH4y9npY9iobJQeamyYHnHHkcccY5z7L/sgyMHRkaOHBkajDMQ6cTpA0+n99/g07uFM45AMDLO+Pvq
7j7mDtOdrsDQyMhfMxgYPX7ZOA/M3sc8PThL31Q5AUYWEtiuRveFR7AKRRMMRBcJQ5GjYQ2h6CldC9Eq3Q2S3RCRfQbIx59k+Cj56bP22uvp
04dPMBhn7OMY+y8YGcfQwNjHOc5AnBBOHH766dOnO8TzP8IZZxxQPGOPMzAK82Jn7nRWt5ick0z0hlGcgNKAjVWmOTUCegdrXDc3BQK9XTai
IHsC8KLGfkekJ3c5PVEIueb2/vam120Rw2QjLc6Nxk0ZTtAziZtrgTktkGX0qcwx0zuXb820jThBK+jmV6L1hpxFIBqygVw7c4cn8rXgxK18
7XqLNwp0hqyQcxKk0BNOKGT1OTQLzNaUtSgLRHOC7l0CGH1sgy8mQ042gmVUFiuvvF5AmBcuFCurwyQIhoLryEtFs5tnDI5F3a8wOf89Taf1
FaVqpFwXL1aaNXktBEHf4expKNUKsBb/XRN2x/QeVCxcWTnhvC9VFt1VZ9zzDRmLEYrFMTPnvXzjfc4+z/7B17XlvHLiVRZq9Y+gyO/CD5Ph
dFpbdFPO1gpEc9ur84G0gt/wOS2wRUBwgjJjioZvGRkZ2c1sTbLC1gtawUpgCKocrG5cLRXqBL7lZ2IFaaWaoW7e7xyq5gndUyUkFP/8N/6n
jwH8nweIn3P2ikwsXJzy8MerZJUmPDDw4ENbtiEJgeaFD32wbYllWNAWkzxC96ZY+aakl1TPYCvQpcQnoBCIaU7mkCYyZAEha7sdyZvDiVsY
9jfTimD5GM9ll+4GQw10oQAUgvqT0DbFasPxFLrLarS+tLwgHe0AQEzJFdMJ+HY1vauQFYSQ25U3yq8gSxn1LK7TkFuAtc1gtMZg0NkSpzRF
7wScLvvjz7tPw6fPehp+1tPyaXjvT336mPQO7PEcHM/H+dB4PvQ4R8YegnDUYdVeh+ndk13wDMTflmtcbJQvMX7nz95wZDA4pW8b1Z5mAlCl
Obm9Zb8sYPuYAPVm7KYYaaOxBDAQGTkwMDQwbtrB4jWY3eCTD9nes89gkpxvw+p2K/CUA02YyMCDDw6Nrj2skqdlN6e+yqlpW/T/xB8GL++C
tdqbUiQUfOSDb05fptk8V6qmGr2pkLneVvkH8z1t7cpqovy8oTA49CBgXRkZBJ3VZVKrqDdXjT8OsDRCl4i3/GpS0sjIUGmwFrFOPxCy2gmt
aZrC681GvZaX79sHy3I0zQQH0R4ArYum9cNd/XVng9ubSCKWu8HsrL7fkvd0v8lI5MSddshw3wvI391K4bYs3r2DW0b5JaimUr4t73Q9Lzc8
bTkWpsVyqfgv8Th+vx6BHxgAAAAASUVORK5CYII=
"""
