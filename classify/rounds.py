"""Running the rounds: every head on every split, and the results as one document."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from .. import __version__, errors
from . import rules, splits
from .by import check_sides
from .document import document_of
from .heads import Spec
from .problem import Problem
from .protocol import Protocol, Round
from .rolled import roll, table_of
from .runs import Record, RunFolder
from .scheduling import Stopped, Task, in_processes, in_threads
from .stored import StoredRun, kept_run, read_run


class Outcome(NamedTuple):
    """What a run found, as a JSON-ready document, and everything that it is made of."""

    document: dict[str, Any]
    stored: StoredRun


def run(
    problem: Problem,
    specs: list[Spec],
    protocol: Protocol,
    fingerprint: str,
    *,
    made_with: dict[str, Any] | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    note: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Judge each head in each round and return the results.

    Parameters
    ----------
    problem : Problem
    specs : list of Spec
    protocol : Protocol
    fingerprint : str
        Of the vectors: that of the problem's layer.
    made_with : dict, optional
        What else the run folder shall say: cache, library versions.
    out : Path, optional
        The run folder to write; an unfinished run of the same plan goes on there.
    overwrite : bool
        Replace another run at `out`.
    progress : callable
        Called with the rounds done and their number, over all heads.
    note : callable
        Told what the user should know of the splits.
    """
    _check_weighing(specs, protocol)
    parted = splits.make(problem, protocol.request)
    if problem.by is not None and protocol.rule is not None:
        rules.parse(protocol.rule).check(problem.positive)
        check_sides(problem.by, parted)
    for text in parted.notes:
        note(text)
    schedule = protocol.schedule(len(parted))
    plan = _plan(problem, specs, protocol, fingerprint, splits.fingerprint(problem, parted), len(schedule))
    folder = RunFolder(out, plan, made_with or {}, overwrite=overwrite) if out is not None else None
    records: dict[tuple[str, int], Record] = {}
    if folder is not None:
        folder.save_splits(problem, parted)
        records.update({(record.head, record.number): record for record in folder.records()})
    tasks, copies = _tasks(specs, schedule, records)
    total = len(specs) * len(schedule)
    progress(len(records), total)
    stopped: list[Stopped] = []
    doing = (
        in_threads(problem, parted, protocol, tasks)
        if protocol.time_budget is None
        else in_processes(problem, parted, protocol, tasks, stopped.append)
    )
    numbers = {spec.text: number for number, spec in enumerate(specs)}
    for done in doing:
        for record in (done, *(_repeated(done, round_) for round_ in copies[done.head, done.number])):
            records[record.head, record.number] = record
            if folder is not None:
                folder.save(numbers[record.head], record)
        progress(len(records), total)
    finished = {
        spec.text: [records[spec.text, round_.number] for round_ in schedule]
        for spec in specs
        if all((spec.text, round_.number) in records for round_ in schedule)
    }
    stopped = [
        stop._replace(rounds=sum(head == stop.head for head, _ in records), of=len(schedule))
        for stop in stopped
    ]
    rolled = roll(problem, specs, protocol, finished) if problem.by is not None else None
    document = document_of(problem, parted, specs, protocol, schedule, plan, finished, rolled, stopped, out)
    units = None if rolled is None else table_of(problem, rolled, document["round_names"])
    if folder is not None:
        folder.finish(document, units, finished=not stopped)
    stored = kept_run(
        problem,
        parted,
        plan,
        made_with or {},
        list(records.values()),
        units,
        out or Path("run"),
        finished=not stopped,
    )
    return Outcome(document, stored)


def _check_weighing(specs: list[Spec], protocol: Protocol) -> None:
    lacking = [spec.text for spec in specs if not spec.head.weighs]
    if protocol.balance == "weights" and lacking:
        raise errors.UsageError(
            f"--balance weights: {', '.join(lacking)} cannot weigh samples. Leave out such heads, or use "
            "--balance subsample."
        )


def _plan(
    problem: Problem,
    specs: list[Spec],
    protocol: Protocol,
    fingerprint: str,
    splits_fingerprint: str,
    rounds: int,
) -> dict[str, Any]:
    """Return everything that decides the numbers; records count rows, so their order is part of it."""
    return {
        "icehouse": __version__,
        "fingerprint": fingerprint,
        "splits": splits_fingerprint,
        "layer": problem.layer,
        "rows": len(problem),
        "views": problem.views,
        "classes": list(problem.classes),
        "positive": problem.positive_class,
        "grouped": problem.grouped,
        "heads": [spec.text for spec in specs],
        "own_estimators": {spec.text: spec.head.identity for spec in specs if not spec.head.standardized},
        **protocol.as_plan(),
        "rounds": rounds,
        "order": hashlib.sha256(problem.content.tobytes() + problem.frame.tobytes()).hexdigest(),
        "drawn": _drawn(protocol),
        **({} if problem.by is None else {"units": problem.by.fingerprint}),
    }


def _drawn(protocol: Protocol) -> dict[str, Any]:
    """Return how the splits were drawn: by this run, or by the one whose they are."""
    plan = protocol.as_plan() if protocol.reused is None else read_run(protocol.reused).plan
    return dict(plan.get("drawn") or {name: plan[name] for name in ("seed", "test_size", "balance")})


def _tasks(
    specs: list[Spec], schedule: list[Round], records: dict[tuple[str, int], Record]
) -> tuple[list[Task], dict[tuple[str, int], list[Round]]]:
    """Return what is to be computed, split by split, and the rounds that will be equal to each.

    A head without a seed gives the same answers in all rounds of a split, so it is fitted once.
    """
    tasks: list[Task] = []
    copies: dict[tuple[str, int], list[Round]] = {}
    computed: dict[tuple[str, int], tuple[str, int]] = {}
    for split in dict.fromkeys(round_.split for round_ in schedule):
        for spec in specs:
            for round_ in schedule:
                if round_.split != split or (spec.text, round_.number) in records:
                    continue
                first = computed.get((spec.text, split))
                if first is not None and not spec.seeded:
                    copies[first].append(round_)
                    continue
                computed[spec.text, split] = (spec.text, round_.number)
                copies[spec.text, round_.number] = []
                tasks.append(Task(spec, round_))
    return tasks, copies


def _repeated(record: Record, round_: Round) -> Record:
    return replace(record, number=round_.number, split=round_.split, seed=round_.seed, seconds=0.0)
