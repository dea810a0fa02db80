"""The run folder: what was asked, the splits, one record per finished round, and the results.

    run.json            everything needed to repeat the run, and whether it is finished
    splits.npz          which rows are tested in each round, and which image, patient and label each row is
    rounds/H-NAME-R.npz one record of head number H in round R: metrics, scores of the tested rows, history
    units.csv           with --by: each tested patient (or other unit) of each round, with what its slices say
    results.json        what `icehouse classify --json` prints

Every file is written whole or not at all, so that an interrupted run goes on at its missing rounds.
"""

from __future__ import annotations

import io
import json
import platform
import re
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache import atomic
from ..cache.store import Cache
from .metrics import Judgement
from .problem import Problem
from .sides import Splits

FORMAT = "icehouse-run"
FORMAT_VERSION = 2
_ARRAYS = ("rows", "predicted", "scores", "unlabelled", "unlabelled_scores")


@dataclass(frozen=True)
class Record:
    """One head in one round.

    Parameters
    ----------
    head : str
        As typed.
    number : int
        The round, from 0 on.
    split, seed : int
        Which split it is judged on, and which of the head's seeds it is fitted with, from 0 on.
    judgement : Judgement
    rows : ndarray of int, shape (n_test,)
        The tested rows.
    predicted : ndarray of int, shape (n_test,)
        The predicted class of each, an index into the run's classes.
    scores : ndarray of float, shape (n_test, n_classes)
        Probabilities, or decision values where the head has none.
    history : dict of str to list of float, or None
        Loss and accuracy on the training part for each epoch.
    seconds : float
    tuned : dict or None
        The parameters that the search on the training part chose.
    unlabelled : ndarray of int, shape (m,)
        The unlabelled rows of tested patients.
    unlabelled_scores : ndarray of float, shape (m, n_classes)
    rule : str or None
        What `--rule auto` chose in the training part.
    """

    head: str
    number: int
    split: int
    seed: int
    judgement: Judgement
    rows: NDArray[np.int64]
    predicted: NDArray[np.int64]
    scores: NDArray[np.floating[Any]]
    history: dict[str, list[float]] | None
    seconds: float
    tuned: dict[str, Any] | None
    unlabelled: NDArray[np.int64]
    unlabelled_scores: NDArray[np.floating[Any]]
    rule: str | None = None


class RunFolder:
    """A run on disk.

    Parameters
    ----------
    path : Path
    plan : dict
        Everything that decides the numbers.
    made_with : dict
        What does not, and is good to know: cache, library versions.
    overwrite : bool
        Replace a run of another plan, or a finished one.

    Raises
    ------
    OutputExists
        If `path` holds something else than an unfinished run of the same plan.
    """

    def __init__(
        self, path: Path, plan: dict[str, Any], made_with: dict[str, Any], *, overwrite: bool = False
    ) -> None:
        self.path = path
        self.plan = plan
        self.made_with = made_with
        self._splits: dict[str, NDArray[Any]] | None = None
        try:
            self._claim(overwrite)
        except PermissionError:
            raise errors.RunError(f"No permission to write in {path.parent}.") from None
        except FileNotFoundError:
            raise errors.RunError(f"There is no folder {path.parent}.") from None

    def _claim(self, overwrite: bool) -> None:
        note = self._note()
        if note is None and self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise errors.OutputExists(f"{self.path} exists and is not a run. Choose another name.")
        self._stale = False
        if note is not None and (note["finished"] or note["plan"] != self.plan):
            self._stale = self._holds_results()
            if not overwrite and self._stale:
                state = "a finished run" if note["finished"] else "an unfinished run with other settings"
                raise errors.OutputExists(
                    f"{self.path} holds {state}{self._differing(note)}. Choose another name, or replace it "
                    "with --overwrite."
                )
            if not self._stale:
                self._empty()
        self.path.mkdir(exist_ok=True)
        (self.path / "rounds").mkdir(exist_ok=True)
        if not self._stale:
            self._write_note(finished=False)

    def _differing(self, note: dict[str, Any]) -> str:
        """Return what another plan has other than this one, in a few words."""
        held = note["plan"] if isinstance(note["plan"], dict) else {}
        names = [name for name in {**held, **self.plan} if held.get(name) != self.plan.get(name)]
        return f" (other: {', '.join(names[:4])})" if names and not note["finished"] else ""

    def _replace(self) -> None:
        """Remove what is overwritten: no sooner than there is something to take its place."""
        if self._stale:
            self._stale = False
            self._empty()
            self._write_note(finished=False)
            if self._splits is not None:
                self._write_npz("splits.npz", **self._splits)

    def _holds_results(self) -> bool:
        return any((self.path / "rounds").glob("*.npz")) or (self.path / "results.json").exists()

    def records(self) -> list[Record]:
        """Return the rounds that are finished; a damaged record counts as missing."""
        found: list[Record] = []
        if self._stale:
            return found
        for path in sorted((self.path / "rounds").glob("*.npz")):
            try:
                found.append(read_record(path))
            except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
                path.unlink()
        return found

    def save_splits(self, problem: Problem, splits: Splits) -> None:
        """Write which rows each split trains on and tests, and what each row is."""
        self._splits = dict(
            kind=np.array(splits.kind),
            names=np.array(splits.names),
            train=splits.train,
            test=splits.test,
            scored=splits.scored,
            content=problem.content,
            frame=problem.frame,
            path=problem.path,
            patient=problem.patient,
            label=np.array(problem.classes)[problem.y],
            **_of_unlabelled(problem),
        )
        if not self._stale:
            self._write_npz("splits.npz", **self._splits)

    def save(self, head_number: int, record: Record) -> None:
        """Write one finished round."""
        self._replace()
        about = {
            "head": record.head,
            "number": record.number,
            "split": record.split,
            "seed": record.seed,
            "tuned": record.tuned,
            "judgement": asdict(record.judgement),
            "history": record.history,
            "seconds": record.seconds,
            # Runs without it stay as they were, and readable by what does not know of rules.
            **({} if record.rule is None else {"rule": record.rule}),
        }
        slug = re.sub(r"[^\w.=-]+", "_", record.head)[:60]
        self._write_npz(
            f"rounds/{head_number}-{slug}-{record.number + 1:03d}.npz",
            about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
            **{name: getattr(record, name) for name in _ARRAYS},
        )

    def finish(self, document: dict[str, Any], units: str | None = None, *, finished: bool = True) -> None:
        """Write the results, and whether the run is finished: a head that was stopped can go on later."""
        self._replace()
        if units is not None:
            atomic.write_bytes(self.path / "units.csv", units.encode())
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        atomic.write_bytes(self.path / "results.json", text.encode())
        self._write_note(finished=finished)

    def _note(self) -> dict[str, Any] | None:
        path = self.path / "run.json"
        if not path.is_file():
            return None
        try:
            note = json.loads(path.read_text(encoding="utf-8"))
            if note["format"] == FORMAT and isinstance(note["finished"], bool) and "plan" in note:
                return dict(note)
        except (ValueError, KeyError, TypeError):
            pass
        return None

    def _write_note(self, *, finished: bool) -> None:
        note = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "plan": self.plan,
            "made_with": self.made_with,
            "finished": finished,
        }
        text = json.dumps(note, indent=1, ensure_ascii=False)
        atomic.write_bytes(self.path / "run.json", text.encode())

    def _empty(self) -> None:
        for path in [
            *(self.path / "rounds").glob("*.npz"),
            self.path / "splits.npz",
            self.path / "units.csv",
            self.path / "results.json",
        ]:
            path.unlink(missing_ok=True)

    def _write_npz(self, name: str, **arrays: NDArray[Any]) -> None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        atomic.write_bytes(self.path / name, buffer.getvalue())


def _of_unlabelled(problem: Problem) -> dict[str, NDArray[Any]]:
    """Return what each unlabelled row is, as records count them; the label is its patient's."""
    rows = problem.unlabelled
    if rows is None:
        return {}
    told: dict[str, NDArray[Any]] = {
        "content": rows.content,
        "frame": rows.frame,
        "path": rows.path,
        "patient": rows.patient,
    }
    told["label"] = np.array(problem.classes)[rows.y]
    return {f"unlabelled_{name}": values for name, values in told.items()}


def made_with(cache: Cache) -> dict[str, Any]:
    """Return what a run on `cache` should note beside its plan: the cache, its recipe, the libraries."""
    return {
        "cache": str(cache.path),
        "labels": str(cache.labels_from) if cache.labels_from else None,
        "recipe": dict(cache.header.recipe),
        "selection": dict(cache.header.selection),
        **libraries(),
    }


def libraries() -> dict[str, Any]:
    """Return the versions of Python and of what heads are fitted with."""
    from importlib.metadata import version  # importing them for it would take half a second

    names = ("numpy", "scipy", "scikit-learn", "xgboost")
    return {"python": platform.python_version(), "libraries": {name: version(name) for name in names}}


def read_record(path: Path) -> Record:
    """Return one round; raises what `json`, `numpy` and `zipfile` raise if it is damaged."""
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        about = json.loads(file["about"].tobytes())
        about["judgement"] = Judgement(**about["judgement"])
        return Record(**{name: file[name] for name in _ARRAYS}, **about)
