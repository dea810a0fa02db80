"""Promises about patients of DICOM files: always a pseudonym, the same for the same key, never a name."""

from __future__ import annotations

import stat

import pytest
from icehouse import errors
from icehouse.extract.patients import FILE, VARIABLE, PatientKey


def test_the_key_is_made_once_and_kept_for_its_owner_only(tmp_path) -> None:
    first = PatientKey(tmp_path).pseudonym("patient", "4711", "")
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert PatientKey(tmp_path).pseudonym("patient", "4711", "") == first
    assert "4711" not in first


def test_no_key_is_written_before_a_patient_is_met(tmp_path) -> None:
    PatientKey(tmp_path)
    assert not (tmp_path / FILE).exists()


def test_pseudonyms_of_two_keys_and_of_two_patients_differ(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    a, b = PatientKey(tmp_path / "a"), PatientKey(tmp_path / "b")
    names = {a.pseudonym("patient", "1", ""), a.pseudonym("patient", "2", ""), b.pseudonym("patient", "1", "")}
    assert len(names) == 3
    assert a.pseudonym("patient", "1", "") != a.pseudonym("study", "1")


def test_caches_of_several_folders_can_share_a_key(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "shared.key"))
    (tmp_path / "a").mkdir()
    assert PatientKey(tmp_path / "a").pseudonym("patient", "1") == PatientKey(tmp_path).pseudonym(
        "patient", "1"
    )
    assert not (tmp_path / "a" / FILE).exists()


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert PatientKey(None).pseudonym("patient", "1") != PatientKey(None).pseudonym("patient", "1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "not a key", "00" * 31])
def test_a_file_that_is_no_key_is_refused_by_name(tmp_path, text) -> None:
    (tmp_path / FILE).write_text(text, encoding="ascii")
    with pytest.raises(errors.SourceError, match=FILE):
        PatientKey(tmp_path).pseudonym("patient", "1")
