"""Who the DICOM files of a source are of: one name or pseudonym a person, so that no split can leak."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..cache.patient_key import PatientKey
from .dicom_header import Header
from .sources import Sample

_NUMBER, _STUDY, _SERIES = range(3)  # the more lasting first: what else there is of a person changes it less
_Mark = tuple[int, tuple[str, ...]]  # one of these, and a UID, a patient's number, or that and its issuer


def named(samples: Sequence[Sample], headers: Sequence[Header | None], patients: PatientKey) -> list[str]:
    """Return the patient of each sample: his name where one was given, else a pseudonym, else nothing.

    Files are of one person if they share a series, a study, or a patient's number, and so is whatever hangs
    together by such steps. Issuers part equal numbers only where both files name one. A file that names
    none may be of either, so that it makes one person of all who have its number: too few persons cost a
    split some balance, too many let it leak.

    Names that were given (by a manifest) come first and are never changed. A file without one gets the only
    name in its series, else in its study, else of its number, else of its person; what is left gets the
    pseudonym of its person. So only files that hang together with several names and are nearer to none of
    them stand apart: whoever gave two names said that they are two people, and whose these are is not known.

    The pseudonym is made of the patient's number, whatever other files there are; of the issuer, too, only
    where several issuers gave that number. A person of several numbers has the pseudonym of the least, one of
    none that of the least UID of a study, else of a series. Files that tell nothing of a person keep an empty
    text.
    """
    marks = _marks(headers)
    persons = _Persons(marks)
    names: dict[_Mark, set[str]] = {}
    of_person: dict[_Mark, set[str]] = {}
    for sample, of_file in zip(samples, marks, strict=True):
        if sample.patient and of_file:
            of_person.setdefault(persons.of(of_file[0]), set()).add(sample.patient)
            for mark in of_file:
                names.setdefault(mark, set()).add(sample.patient)
    found = []
    for sample, of_file in zip(samples, marks, strict=True):
        patient = sample.patient
        if not patient and of_file:
            person = persons.of(of_file[0])
            known = [names.get(mark, set()) for mark in of_file] + [of_person.get(person, set())]
            only = next((few for few in known if len(few) == 1), None)
            patient = min(only) if only else _pseudonym(person, patients)
        found.append(patient)
    return found


def _marks(headers: Sequence[Header | None]) -> list[list[_Mark]]:
    """Return by what each file is recognized as someone's, the nearest first."""
    issuers: dict[str, set[str]] = {}
    for header in headers:
        if header is not None and header.patient_id:
            issuers.setdefault(header.patient_id, set()).add(header.issuer)
    marks: list[list[_Mark]] = []
    for header in headers:
        of_file: list[_Mark] = []
        if header is not None:
            uids = ((_SERIES, header.series), (_STUDY, header.study))
            of_file = [(kind, (uid,)) for kind, uid in uids if uid]
            if number := header.patient_id:
                told_apart = "" not in issuers[number] and len(issuers[number]) > 1
                of_file.append((_NUMBER, (number, header.issuer) if told_apart else (number, "")))
        marks.append(of_file)
    return marks


class _Persons:
    """Marks that hang together through files, each set under the least: a number if there is one."""

    def __init__(self, files: Iterable[Sequence[_Mark]]) -> None:
        self._above: dict[_Mark, _Mark] = {}
        for of_file in files:
            for mark in of_file:
                roots = self.of(of_file[0]), self.of(mark)
                self._above[max(roots)] = min(roots)

    def of(self, mark: _Mark) -> _Mark:
        """Return the mark that stands for the person whose mark this is."""
        above = self._above
        while above.setdefault(mark, mark) != mark:
            above[mark] = mark = above[above[mark]]
        return mark


def _pseudonym(person: _Mark, patients: PatientKey) -> str:
    kind, identity = person
    return patients.pseudonym("patient" if kind == _NUMBER else "person", *identity)
