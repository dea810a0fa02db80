"""Promises that splits keep whatever the data: random sizes, patients, copies, patients of several classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from icehouse import errors
from icehouse.classify import splits
from icehouse.classify.problem import Problem
from icehouse.classify.splits import Request, make
from making import problem_of


def any_problem(number: int) -> Problem:
    """Return one of very different problems, with copies of images across patients."""
    generator = np.random.default_rng([7, number])
    classes, count = int(generator.integers(2, 5)), int(generator.integers(30, 400))
    patients = int(generator.integers(4 * classes, max(4 * classes + 1, count // 2)))
    weights = generator.dirichlet(np.full(patients, generator.choice([0.3, 1, 10])))
    owner = generator.choice(patients, count, p=weights)
    y = (generator.permutation(patients) % classes)[owner]
    mixed = generator.random(count) < generator.choice([0, 0.1, 0.5])
    y = np.where(mixed, generator.integers(0, classes, count), y)
    content = generator.integers(0, 256, (count, 32), dtype=np.uint8)
    copies = generator.choice(count, count // 20, replace=False)
    content[copies] = content[generator.permutation(copies)]
    patient = np.array([f"p{one}" if one % 9 else "" for one in owner]) if number % 4 else None
    y[:classes] = np.arange(classes)
    return problem_of(y, patient, content)


ASKED = (
    {"rounds": 3, "seed": 5},
    {"rounds": 2, "test_size": 0.15},
    {"folds": 3, "repeats": 2},
    {"rounds": 2, "balance": "subsample"},
    {"folds": 3, "balance": "subsample"},
)


@pytest.mark.parametrize("number", range(24))
def test_groups_stay_whole_classes_are_on_both_sides_and_the_order_of_rows_decides_nothing(number) -> None:
    problem = any_problem(number)
    classes = set(range(len(problem.classes)))
    order = np.random.default_rng(number).permutation(len(problem))
    turned = replace(
        problem,
        **{
            name: getattr(problem, name)[order]
            for name in ("X", "further", "y", "groups", "content", "frame", "patient", "path", "blocks")
        },
    )
    for asked in ASKED:
        request = Request(**asked)
        try:
            made = make(problem, request)
        except errors.ClassesError as error:
            assert "fewer than 3 folds" in str(error) or "only: it cannot be" in str(error)  # noqa: PT017
            continue
        for train, test in zip(made.train, made.test, strict=True):
            assert not np.any(train & test)
            assert set(problem.y[train]) == set(problem.y[test]) == classes
            assert not set(problem.groups[train]) & set(problem.groups[test])
        if "folds" in asked and "balance" not in asked:
            assert (made.test.reshape(-1, 3, len(problem)).sum(axis=1) == 1).all()
        again = make(turned, request)
        np.testing.assert_array_equal(again.test, made.test[:, order])
        assert splits.fingerprint(turned, again) == splits.fingerprint(problem, made)
