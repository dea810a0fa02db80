"""Promises about patients of DICOM files: always a pseudonym, the same for the same key, never a name."""

from __future__ import annotations

import multiprocessing
import os
import stat
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from icehouse import errors
from icehouse.cache.patient_key import FILE, VARIABLE, PatientKey

ROUNDS = 40


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


@pytest.mark.parametrize("text", ["not a key", "00" * 31])
def test_a_file_that_is_no_key_is_refused_by_name(tmp_path, text) -> None:
    (tmp_path / FILE).write_text(text, encoding="ascii")
    with pytest.raises(errors.SourceError, match=FILE):
        PatientKey(tmp_path).pseudonym("patient", "1")


def test_a_file_left_empty_by_a_kill_becomes_a_key_and_no_leftover_stays(tmp_path) -> None:
    (tmp_path / FILE).touch()
    name = PatientKey(tmp_path).pseudonym("patient", "1")
    assert PatientKey(tmp_path).pseudonym("patient", "1") == name
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / FILE]


def _race(folder: Path, start: Barrier, names: Queue[str]) -> None:
    for number in range(ROUNDS):
        start.wait(30)
        names.put(f"{number} {PatientKey(folder / str(number)).pseudonym('patient', '1')}")


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_two_processes_at_the_same_moment_make_one_key(tmp_path, left) -> None:
    for number in range(ROUNDS):
        (tmp_path / str(number)).mkdir()
        if left == "an empty file":
            (tmp_path / str(number) / FILE).touch()
    fork = multiprocessing.get_context("fork")
    start, names = fork.Barrier(2), fork.Queue()
    processes = [fork.Process(target=_race, args=(tmp_path, start, names)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [names.get(timeout=30) for _ in range(2 * ROUNDS)]
    for process in processes:
        process.join(30)
    assert len(set(found)) == ROUNDS


def test_where_a_disk_knows_no_links_a_key_is_made_all_the_same(tmp_path, monkeypatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refused)
    name = PatientKey(tmp_path).pseudonym("patient", "1")
    assert PatientKey(tmp_path).pseudonym("patient", "1") == name
    assert list(tmp_path.iterdir()) == [tmp_path / FILE]
