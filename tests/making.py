"""What tests make by hand: small pictures, blocks, samples, problems and records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from icehouse.cache.commit import commit
from icehouse.cache.samples import Samples
from icehouse.cache.staging import Block
from icehouse.cache.writing import Contents
from icehouse.classify.groups import tied
from icehouse.classify.metrics import judge
from icehouse.classify.problem import Problem
from icehouse.classify.runs import Record
from icehouse.extract.backbones import Backbone
from icehouse.extract.engines import Plan
from icehouse.extract.weights import Weights
from PIL import Image

SELECTION = {"frames": "all", "views": 1}
"""All frames of every file, unaltered."""


def draw(path: Path, number: int, *, bright: bool = False, size: tuple[int, int] = (48, 56)) -> Path:
    """Write a small picture: a ramp, a blot and noise of its own; bright ones have the blot on the left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng([number, int(bright)])
    y, x = np.mgrid[0 : 1 : size[0] * 1j, 0 : 1 : size[1] * 1j]
    centre = 0.25 if bright else 0.75
    blot = 120 * np.exp(-((x - centre) ** 2 + (y - 0.5) ** 2) / 0.02)
    pixels = np.clip(60 * y + blot + generator.normal(0, 20, size) + 20, 0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def block_of(
    content: np.ndarray,
    vectors: np.ndarray,
    frame: np.ndarray | None = None,
    view: np.ndarray | None = None,
    *,
    more: dict[str, np.ndarray] | None = None,
    mapped: bool = True,
) -> Block:
    """Return a block with these vectors, as an extraction would stage it; `more` has further layers'."""
    count = len(content)
    layers = {"avg_pool": vectors, **(more or {})}
    return Block(
        content=content,
        frame=np.zeros(count, dtype=np.int32) if frame is None else frame.astype(np.int32),
        view=np.zeros(count, dtype=np.int16) if view is None else view.astype(np.int16),
        vectors={layer: values.astype(np.float32) for layer, values in layers.items()},
        pixels=np.zeros((count, 256), dtype=np.uint8),
        map_sum=np.full((1, 1, vectors.shape[1]), float(count)) if mapped else None,
        facts={},
        canaries={layer: np.ones((3, values.shape[1]), dtype=np.float32) for layer, values in layers.items()},
        maker={"engine": "by hand", "device": "cpu", "libraries": {}},
    )


def samples_of(
    content: np.ndarray,
    labels: list[str],
    patients: list[str] | None = None,
    states: list[str] | None = None,
    splits: list[str] | None = None,
    *,
    frames: int | list[int] = 1,
    chosen: list[str] | None = None,
) -> Samples:
    """Return a samples table with one sample for each content."""
    count = len(content)
    empty, number = np.full(count, ""), np.zeros(count, dtype=np.int32)
    return Samples(
        path=np.array([f"{index}.png" for index in range(count)]),
        label=np.array(labels),
        patient=np.array(patients) if patients else empty,
        split=np.array(splits) if splits else empty,
        content=content,
        state=np.array(states) if states else np.full(count, "done"),
        format=empty,
        mode=empty,
        kind=empty,
        chosen=np.array(chosen) if chosen else empty,
        width=number,
        height=number,
        bits=number,
        frames=np.full(count, frames, dtype=np.int32),
    )


def write_cache(
    path: Path,
    vectors: np.ndarray,
    labels: list[str],
    patients: list[str] | None = None,
    *,
    content: np.ndarray | None = None,
    states: list[str] | None = None,
    splits: list[str] | None = None,
    more: dict[str, np.ndarray] | None = None,
    kept: np.ndarray | None = None,
) -> Path:
    """Write a cache of given vectors; `more` has further layers', `kept` says which vectors are there."""
    if content is None:
        content = np.random.default_rng(5).integers(0, 256, (len(vectors), 32), dtype=np.uint8)
    rows = np.sort(np.unique(content, axis=0, return_index=True)[1])
    rows = rows if kept is None else rows[kept[rows]]
    layers = {name: values[rows] for name, values in (more or {}).items()}
    contents = Contents(
        {"kind": "by hand"},
        ("avg_pool", *layers),
        {**SELECTION, **({"layers": ["avg_pool", *layers]} if layers else {})},
        samples_of(content, labels, patients, states, splits),
        [],
        [{"time": "2026-01-01T00:00:00+00:00"}],
    )
    commit(path, None, [block_of(content[rows], vectors[rows], more=layers)], contents)
    return path


def plan_of(backbone: Backbone, weights: Weights) -> Plan:
    """Return the plan of a network as it comes, for `avg_pool` at float32."""
    return Plan(backbone, weights, backbone.size, backbone.scaling)


def problem_of(
    y: np.ndarray,
    patient: np.ndarray | None = None,
    content: np.ndarray | None = None,
    X: np.ndarray | None = None,
    **fields: Any,
) -> Problem:
    """Return a problem of given labels, of the classes a, b, c, d; patients are known if they are given."""
    count = len(y)
    if content is None:
        content = np.random.default_rng(1).integers(0, 256, (count, 32), dtype=np.uint8)
    X = np.zeros((count, 2), dtype=np.float32) if X is None else X
    known = patient is not None
    patient = np.full(count, "") if patient is None else np.asarray(patient, dtype=str)
    classes = tuple("abcd"[: int(y.max()) + 1])
    groups = tied(patient, content)
    given = {
        "X": X,
        "further": np.zeros((count, 0, X.shape[1]), dtype=X.dtype),
        "y": np.asarray(y, dtype=np.int64),
        "classes": classes,
        "positive": 0 if len(classes) == 2 else None,
        "groups": groups,
        "grouped": known,
        "content": content,
        "frame": np.zeros(count, dtype=np.int32),
        "patient": patient,
        "path": np.array([str(i) for i in range(count)]),
        "left_out": {},
        "layers": ("avg_pool",),
        "widths": (X.shape[1],),
        "blocks": groups,
    }
    return Problem(**{**given, **fields})


def record_of(
    problem: Problem, rows: np.ndarray, scores: np.ndarray, *, number: int = 0, split: int = 0, seed: int = 0
) -> Record:
    """Return the record of a head that gave these scores; they are probabilities if each row's sum is 1."""
    predicted = scores.argmax(axis=1)
    judgement = judge(
        problem.y[rows],
        predicted,
        scores,
        problem.classes,
        problem.positive,
        probabilities=bool(np.allclose(scores.sum(axis=1), 1)),
        patients=len(np.unique(problem.blocks[rows])),
    )
    nothing = np.zeros(0, dtype=np.int64), np.zeros((0, len(problem.classes)))
    return Record("head", number, split, seed, judgement, rows, predicted, scores, None, 0.1, None, *nothing)
