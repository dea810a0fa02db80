"""Promises about DICOM: every transfer syntax, what the numbers mean, and what a header says of a file."""

from __future__ import annotations

import io
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from icehouse import errors
from icehouse.extract import dicom_header
from icehouse.extract.decode import open_image
from icehouse.extract.dicom_header import looks_like_dicom, read_header
from icehouse.extract.picture import Opened, Picture
from making_volumes import AXIAL, compressed, dicom, items
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing, pixel_array
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLosslessSV1

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 4096, (20, 30), dtype=np.uint16)
HOUNSFIELD = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}


def sample(name: str) -> bytes:
    """Return one of the files that lie in pydicom's own package."""
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(path).read_bytes()


def only_frame(content: bytes) -> Picture:
    opened = open_image(content)
    assert opened.facts.frames == 1
    return opened.frame(0)


def by_pydicom(content: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(content))
        pixels = pixel_array(dataset, index=0)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            return (apply_color_lut(pixels, dataset) >> 8).astype(np.uint8)
        return apply_modality_lut(pixels, dataset)


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "693_J2KI.dcm",
        "J2K_pixelrep_mismatch.dcm",
        "JPEG2000.dcm",
        "JPEGLSNearLossless_08.dcm",
        "JPEGLSNearLossless_16.dcm",
        "GDCMJ2K_TextGBR.dcm",
        "MR_small_padded.dcm",
        "SC_jpeg_no_color_transform_2.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+s4.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_jpeg_lossy_gdcm.dcm",
        "SC_rgb_rle_16bit.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "examples_jpeg2k.dcm",
        "examples_overlay.dcm",
        "examples_palette.dcm",
        "examples_rgb_color.dcm",
        "image_dfl.dcm",
        "rtdose_1frame.dcm",
    ],
)
def test_files_of_many_makers_are_read_as_pydicom_reads_them(name) -> None:
    content = sample(name)
    np.testing.assert_array_equal(only_frame(content).pixels, by_pydicom(content))


def test_a_picture_is_the_same_in_every_lossless_transfer_syntax() -> None:
    uncompressed = only_frame(sample("MR_small.dcm")).pixels
    for name in ("implicit", "bigendian", "RLE", "jpeg_ls_lossless", "jp2klossless"):
        np.testing.assert_array_equal(only_frame(sample(f"MR_small_{name}.dcm")).pixels, uncompressed)
    written = {name: only_frame(content).pixels for name, content in compressed().items()}
    for name in ("big endian", "deflated", "JPEG lossless", "JPEG lossless SV1", "JPEG-LS", "JPEG 2000", "RLE"):
        np.testing.assert_array_equal(written[name], written["implicit"])
    assert np.abs(written["JPEG-LS near-lossless"] - written["implicit"]).max() == 2
    assert 0 < np.abs(written["JPEG extended"] - written["implicit"]).max() < 20  # of 4,096 grey levels


def test_12_bit_jpeg_of_a_scanner_is_read() -> None:
    opened = open_image(sample("JPGExtended.dcm"))
    assert (opened.facts.bits, opened.facts.mode) == (12, "NM MONOCHROME2")
    by_another_codec = only_frame(sample("JPEG2000.dcm")).pixels  # the same picture, as lossy as this one
    assert np.corrcoef(opened.frame(0).pixels.ravel(), by_another_codec.ravel())[0, 1] > 0.95


def test_colours_come_out_whichever_way_they_were_written() -> None:
    colour = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    planes = np.ascontiguousarray(np.moveaxis(colour, -1, 0))
    content = dicom(colour, PlanarConfiguration=1)
    swapped = pydicom.dcmread(io.BytesIO(content))
    swapped.PixelData = planes.tobytes()
    buffer = io.BytesIO()
    swapped.save_as(buffer)
    for file in (buffer.getvalue(), dicom(colour)):
        picture = only_frame(file)
        np.testing.assert_array_equal(picture.pixels, colour)
        assert (picture.kind, picture.bits) == ("8-bit", 8)
    deep = only_frame(dicom(colour.astype(np.uint16) * 257))
    np.testing.assert_array_equal(deep.pixels, colour.astype(np.uint16) * 257)
    assert (deep.kind, deep.bits) == ("other", 16)


def test_a_palette_in_segments_becomes_the_colours_that_its_lines_meet() -> None:
    ramp = np.array(
        [0, 1, 0, 1, 255, 65535], dtype="<u2"
    ).tobytes()  # 0, then a line to the largest in 255 steps
    elements: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        elements[f"Segmented{colour}PaletteColorLookupTableData"] = ramp
    grey = (DEEP >> 4).astype(np.uint8)
    picture = only_frame(dicom(grey, **elements))
    np.testing.assert_array_equal(picture.pixels, np.stack([grey] * 3, axis=-1))


def test_bits_of_overlays_are_cut_off_and_numbers_may_lie_high_in_their_word() -> None:
    overlaid = DEEP | 0xA000
    np.testing.assert_array_equal(only_frame(dicom(overlaid, bits=12)).pixels, DEEP)
    high = (DEEP << 4) | 0x5
    np.testing.assert_array_equal(only_frame(dicom(high, bits=12, HighBit=15)).pixels, DEEP)
    signed = DEEP.astype(np.int16) - 2048
    dirty = (signed & 0xFFF) | 0x5000
    np.testing.assert_array_equal(only_frame(dicom(dirty, bits=12, PixelRepresentation=1)).pixels, signed)


def test_a_ct_is_in_hounsfield_units_and_says_what_its_bits_can_hold() -> None:
    picture = only_frame(dicom(DEEP, bits=12, **HOUNSFIELD))
    np.testing.assert_array_equal(picture.pixels, DEEP.astype(np.float32) - 1024)
    assert (picture.kind, picture.bits, picture.stored) == ("ct", 12, (-1024.0, 3071.0))
    assert only_frame(dicom(DEEP, bits=12, **HOUNSFIELD, RescaleType="US")).kind == "other"
    assert only_frame(dicom(DEEP, bits=12, Modality="CT")).kind == "other"
    negative = only_frame(dicom(DEEP, bits=12, Modality="MR", RescaleSlope=-2, RescaleIntercept=1))
    assert (negative.kind, negative.stored) == ("other", (-8189.0, 1.0))


def test_radiographs_are_a_kind_of_their_own_where_they_are_deep_or_bring_a_window() -> None:
    window = {"WindowCenter": 100, "WindowWidth": 50}
    grey = (DEEP >> 4).astype(np.uint8)
    for modality in ("CR", "DX", "MG", "RG", "XA", "RF", "IO", "PX"):
        assert only_frame(dicom(DEEP, bits=12, Modality=modality)).kind == "x-ray"
        assert only_frame(dicom(grey, Modality=modality)).kind == "8-bit"
        assert only_frame(dicom(grey, Modality=modality, **window)).kind == "x-ray"
    assert only_frame(dicom(grey, Modality="US", **window)).kind == "8-bit"
    assert only_frame(dicom(DEEP, Modality="NM")).kind == "other"


def test_a_modality_table_takes_the_place_of_slope_and_intercept() -> None:
    table = (np.arange(4096, dtype=np.uint16)[::-1] * 3).tolist()
    sequence = items(LUTDescriptor=[4096, 0, 16], ModalityLUTType="US")
    sequence[0].add_new("LUTData", "US", table)
    content = dicom(DEEP, bits=12, ModalityLUTSequence=sequence, RescaleSlope=5, RescaleIntercept=5)
    picture = only_frame(content)
    np.testing.assert_array_equal(picture.pixels, np.array(table)[DEEP])
    np.testing.assert_array_equal(picture.pixels, by_pydicom(content))
    assert picture.stored == (0.0, 65535.0)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_window_shows_what_pydicom_shows(function) -> None:
    content = dicom(
        DEEP,
        bits=12,
        **HOUNSFIELD,
        WindowCenter=[40.5, 1],
        WindowWidth=[400, 2],
        VOILUTFunction=function,
    )
    picture = only_frame(content)
    shown = apply_windowing(picture.pixels, pydicom.dcmread(io.BytesIO(content)))
    assert picture.window is not None
    low, high = picture.stored
    expected = (shown - low) / (high - low) * 255
    found = picture.window(picture.pixels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_table_of_values_of_interest_comes_before_a_window() -> None:
    table = np.sort(RNG.integers(0, 1024, 2000)).astype("<u2").tobytes()
    sequence = items(LUTDescriptor=[2000, 1000, 10], LUTData=table)
    content = dicom(DEEP, bits=12, Modality="DX", VOILUTSequence=sequence, WindowCenter=40, WindowWidth=400)
    picture = only_frame(content)
    expected = apply_voi_lut(DEEP, pydicom.dcmread(io.BytesIO(content)))
    assert picture.window is not None
    np.testing.assert_allclose(picture.window(picture.pixels), expected / 1023 * 255, rtol=1e-6)


def test_a_file_without_a_window_or_with_one_of_no_width_has_none() -> None:
    assert only_frame(dicom(DEEP)).window is None
    assert only_frame(dicom(DEEP, WindowCenter=40, WindowWidth=0)).window is None


def test_white_and_black_are_exchanged_exactly_once() -> None:
    plain = only_frame(dicom(DEEP, bits=12, Modality="DX"))
    assert not plain.inverted
    for elements in (
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        {"PresentationLUTShape": "INVERSE"},
    ):
        picture = only_frame(dicom(DEEP, bits=12, Modality="DX", **elements))
        assert picture.inverted
        np.testing.assert_array_equal(picture.pixels, plain.pixels)  # what inverts is the intensity policy


@pytest.mark.parametrize(("value", "signed"), [(-2000, True), (63536, True), (4000, False)])
def test_padding_is_marked_by_the_numbers_stored(value, signed) -> None:
    stored = DEEP.astype(np.int16 if signed else np.uint16) % 3000
    outside = np.zeros(stored.shape, dtype=bool)
    outside[:3] = True
    stored[outside] = value - 2**16 if value > 2**15 else value
    content = bytearray(dicom(stored, **HOUNSFIELD))
    element = pydicom.dcmread(io.BytesIO(content))
    element.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
    buffer = io.BytesIO()
    element.save_as(buffer)
    picture = only_frame(buffer.getvalue())
    np.testing.assert_array_equal(picture.padding, outside)
    element.add_new(
        "PixelPaddingRangeLimit", "SS" if value < 0 else "US", value - 10 if value < 0 else value - 1500
    )
    if value == 4000:
        buffer = io.BytesIO()
        element.save_as(buffer)
        padding = only_frame(buffer.getvalue()).padding
        np.testing.assert_array_equal(padding, outside | (stored >= 2500))


def test_padding_may_lie_beyond_the_bits_that_count() -> None:
    stored = DEEP.copy()
    stored[0] = 0xF830
    picture = only_frame(dicom(stored, bits=12, **HOUNSFIELD, PixelPaddingValue=0xF830))
    assert picture.padding is not None
    assert picture.padding[0].all()
    assert not picture.padding[1:].any()


def enhanced() -> tuple[bytes, np.ndarray]:
    volume = np.stack([DEEP, DEEP // 2, DEEP // 3])
    frames = []
    for number in range(3):
        transformation = items(RescaleSlope=number + 1, RescaleIntercept=-1000 * number, RescaleType="HU")
        window = items(WindowCenter=100 * number, WindowWidth=10 + number)
        frames += items(PixelValueTransformationSequence=transformation, FrameVOILUTSequence=window)
    content = dicom(volume, frames=3, bits=12, Modality="CT", PerFrameFunctionalGroupsSequence=frames)
    values = np.stack([(number + 1.0) * volume[number] - 1000.0 * number for number in range(3)])
    return content, values


def test_each_frame_of_an_enhanced_ct_has_its_own_rescale_and_window() -> None:
    content, values = enhanced()
    opened = open_image(content)
    assert (opened.facts.frames, opened.facts.kind) == (3, "ct")
    for number in (2, 0, 1):
        picture = opened.frame(number)
        np.testing.assert_array_equal(picture.pixels, values[number])
        assert picture.stored == (-1000.0 * number, 4095.0 * (number + 1) - 1000.0 * number)
        assert picture.window is not None
        middle = np.array([[100.0 * number - 0.5]])
        assert picture.window(middle)[0, 0] == pytest.approx(127.5)


def test_what_all_frames_share_is_said_once() -> None:
    shared = items(
        PixelValueTransformationSequence=items(RescaleSlope=2, RescaleIntercept=-10, RescaleType="HU")
    )
    volume = np.stack([DEEP, DEEP // 2])
    content = dicom(volume, frames=2, bits=12, Modality="CT", SharedFunctionalGroupsSequence=shared)
    np.testing.assert_array_equal(open_image(content).frame(1).pixels, volume[1] * 2.0 - 10)


def test_frames_are_decoded_one_by_one_and_by_several_threads_at_once() -> None:
    grey = np.stack([(DEEP >> 4).astype(np.uint8) // (number + 1) for number in range(12)])
    encoded = [imagecodecs.jpeg8_encode(frame, lossless=True) for frame in grey]
    encoded[7] = encoded[7][:60]
    opened = open_image(dicom(grey, frames=12, syntax=JPEGLosslessSV1, streams=encoded))
    whole = [number for number in range(12) if number != 7]
    with ThreadPoolExecutor(4) as pool:
        for number, picture in zip(whole, pool.map(opened.frame, whole), strict=True):
            np.testing.assert_array_equal(picture.pixels, grey[number])
    with pytest.raises(errors.ImageError):
        opened.frame(7)


def test_frames_in_several_fragments_are_told_apart_with_and_without_a_table_of_offsets() -> None:
    grey = np.stack([(DEEP >> 4).astype(np.uint8), (DEEP >> 5).astype(np.uint8)])
    streams = [imagecodecs.jpeg8_encode(frame, level=95) for frame in grey]
    content = dicom(grey, frames=2, syntax=JPEGBaseline8Bit, streams=streams)
    expected = [open_image(content).frame(number).pixels for number in range(2)]
    dataset = pydicom.dcmread(io.BytesIO(content))
    for with_offsets in (True, False):
        dataset.PixelData = encapsulate(streams, fragments_per_frame=3, has_bot=with_offsets)
        buffer = io.BytesIO()
        dataset.save_as(buffer)
        opened = open_image(buffer.getvalue())
        for number in range(2):
            np.testing.assert_array_equal(opened.frame(number).pixels, expected[number])


def test_floats_are_kept() -> None:
    values = DEEP / np.float32(7)
    content = dicom(
        values,
        FloatPixelData=values.astype("<f4").tobytes(),
        leave_out=["BitsStored", "HighBit", "PixelRepresentation"],
    )
    picture = only_frame(content)
    np.testing.assert_array_equal(picture.pixels, values)
    assert (picture.kind, picture.bits, picture.stored) == ("other", 32, None)


def test_a_file_without_the_preamble_is_read_where_it_plainly_is_dicom() -> None:
    content = dicom(DEEP, preamble=False)
    assert not looks_like_dicom(content)
    np.testing.assert_array_equal(only_frame(content).pixels, DEEP)
    assert looks_like_dicom(dicom(DEEP))
    with pytest.raises(errors.ImageError, match="not an image of a known format"):
        open_image(b"\x08\0 a text that begins by chance as such a file would" + bytes(200))


def claims(**elements: object) -> bytes:
    return dicom(DEEP, **elements)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (claims(Rows=60000, Columns=60000), "60000×60000 pixels are more"),
        (claims(NumberOfFrames=100000), "1200 bytes of pixels where 100000 frames take 120000000"),
        (claims(Rows=400), "1200 bytes of pixels where 1 frames take 24000"),
        (claims(Rows=0), "without pixels"),
        (claims(SamplesPerPixel=4, PhotometricInterpretation="ARGB", PlanarConfiguration=0), "4 samples"),
        (claims(BitsStored=20), "20 bits"),
        (dicom(DEEP, syntax="1.2.840.10008.1.2.4.100", streams=[b"MPEG"]), r"not read: 1\.2\.840"),
        (dicom(DEEP, syntax=JPEGExtended12Bit, frames=None, streams=[b"\xff\xd8\xff\xd9"]), "JPEG header"),
        (
            dicom(DEEP, syntax=JPEGLosslessSV1, streams=[imagecodecs.jpeg8_encode(DEEP[:10], lossless=True)]),
            r"\(10, 30, 1\), where the header says \(20, 30, 1\)",
        ),
        (sample("MR_truncated.dcm"), "8130 bytes of pixels where 1 frames take 8192"),
        (sample("reportsi.dcm"), "DICOM without pixels"),
        (sample("badVR.dcm"), "NumberOfFrames is '1A'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_says_what_is_not_so_is_refused_with_a_reason(content, reason) -> None:
    with pytest.raises(errors.ImageError, match=reason):
        only_frame(content)


def test_a_deflated_bomb_is_refused_before_it_fills_the_memory(monkeypatch) -> None:
    content = dicom(np.zeros((2000, 2000), np.uint16), syntax="1.2.840.10008.1.2.1.99")
    assert only_frame(content).pixels.shape == (2000, 2000)
    monkeypatch.setattr(dicom_header, "MAX_INFLATED", 2**20)
    with pytest.raises(errors.ImageError, match="grows to more than 1048576 bytes"):
        open_image(content)


def test_what_libraries_say_of_damaged_files_is_neither_printed_nor_raised(capfd) -> None:
    names = ("MR_truncated.dcm", "badVR.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm", "rtplan_truncated.dcm")
    before = list(warnings.filters)

    def one(name: str) -> Opened | None:
        try:
            opened = open_image(sample(name)[:-3])
            opened.frame(0)
        except errors.ImageError:
            return None
        return opened

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, names * 5))
    assert capfd.readouterr() == ("", "")
    assert warnings.filters == before


def test_a_package_that_is_not_installed_is_named_and_no_other_takes_its_place(monkeypatch) -> None:
    content = sample("SC_rgb_jpeg_lossy_gdcm.dcm")  # Pillow could decode it, and is installed
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(errors.MissingDependency, match="needs imagecodecs: pip install"):
        only_frame(content)


PLACE = {
    "StudyInstanceUID": "1.2.3",
    "SeriesInstanceUID": "1.2.3.4",
    "PatientID": "P7",
    "IssuerOfPatientID": "HOSPITAL",
    "ImageOrientationPatient": AXIAL,
    "ImagePositionPatient": [5, 6, -70.5],
    "InstanceNumber": 12,
}


def test_a_header_says_who_where_and_of_which_series(tmp_path) -> None:
    content = dicom(DEEP, **HOUNSFIELD, **PLACE, BurnedInAnnotation="NO")
    header = read_header(content)
    assert (header.study, header.series, header.modality) == ("1.2.3", "1.2.3.4", "CT")
    assert (header.patient_id, header.issuer) == ("P7", "HOSPITAL")
    assert "P7" not in repr(header)
    assert (header.position, header.orientation, header.instance_number) == (-70.5, AXIAL, 12)
    assert (header.size, header.frames, header.burned_in, header.passed_over) == ((20, 30), 1, False, None)
    (tmp_path / "IM0001").write_bytes(content)
    assert read_header(tmp_path / "IM0001") == header


def test_a_position_is_measured_along_the_normal_of_the_slices() -> None:
    sagittal = {**PLACE, "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    assert read_header(dicom(DEEP, **sagittal)).position == -5
    for orientation in ([0] * 6, [1, 0, 0]):
        unknown = {**PLACE, "ImageOrientationPatient": orientation}
        assert read_header(dicom(DEEP, **unknown)).position is None


@pytest.mark.parametrize("placeholder", ["", "Unknown", "ANONYMOUS", "anonymized", "None", "0", "000-00", " "])
def test_a_placeholder_is_no_patient(placeholder) -> None:
    assert read_header(dicom(DEEP, **{**PLACE, "PatientID": placeholder})).patient_id == ""


def test_radiographs_tell_their_side_and_view() -> None:
    header = read_header(dicom(DEEP, Modality="DX", ImageLaterality="L", ViewPosition="PA"))
    assert (header.laterality, header.view) == ("L", "PA")
    assert read_header(dicom(DEEP, Modality="CR", BurnedInAnnotation="YES")).burned_in is True
    assert read_header(dicom(DEEP, Modality="CR")).burned_in is None


SECONDARY = "1.2.840.10008.5.1.4.1.1.7"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (dicom(DEEP, Modality="CT", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "localizer"),
        (dicom(DEEP, Modality="DX", ImageType=["ORIGINAL", "PRIMARY", "SCOUT"]), "localizer"),
        (dicom(DEEP, Modality="CT", ImageType=["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]), "reformat"),
        (dicom(DEEP, Modality="MR", ImageType=["DERIVED", "SECONDARY", "PROJECTION IMAGE"]), "reformat"),
        (dicom(DEEP, Modality="CT", ImageType=["DERIVED", "SECONDARY", "AXIAL"]), None),
        (dicom(DEEP, Modality="CT", SOPClassUID=SECONDARY), "secondary capture"),
        (dicom(DEEP, Modality="CR", SOPClassUID=SECONDARY), None),
        (dicom(DEEP, Modality="CT", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"]), None),
        (sample("examples_overlay.dcm"), "reformat"),
        (sample("test-SR.dcm"), "no pixels"),
        (sample("rtstruct.dcm"), "no pixels"),
        (sample("rtplan.dcm"), "no pixels"),
        (sample("liver_1frame.dcm"), "segmentation"),
        (sample("dicomdirtests/DICOMDIR"), "DICOMDIR"),
    ],
    ids=lambda value: str(value) if not isinstance(value, bytes) else "",
)
def test_what_is_no_picture_of_its_series_is_passed_over_with_a_reason(content, reason) -> None:
    assert read_header(content).passed_over == reason


def test_a_file_that_is_no_dicom_has_no_header(tmp_path) -> None:
    with pytest.raises(errors.ImageError, match="not a DICOM file"):
        read_header(b"a text")
    with pytest.raises(errors.ImageError, match="No such file") as caught:
        read_header(tmp_path / "nothing.dcm")
    assert caught.value.stage == "read"


def test_real_series_without_positions_are_in_the_order_of_their_instance_numbers(shared) -> None:
    files = sorted((shared / "data" / "ct_series" / "series2" / "dicom").iterdir())
    headers = [read_header(file) for file in files]
    assert {header.passed_over for header in headers} == {None}
    assert {header.position for header in headers} == {None}
    assert sorted(header.instance_number for header in headers) == list(range(1, len(files) + 1))
    assert {header.patient_id for header in headers} == {""}
    opened = open_image(files[0].read_bytes())
    assert (opened.facts.mode, opened.facts.kind, opened.facts.bits) == ("NM MONOCHROME2", "other", 12)
    assert opened.frame(0).stored == (0.0, 4095.0)
