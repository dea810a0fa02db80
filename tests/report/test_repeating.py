"""Promises about how a report says that a run is repeated: the commands make the same numbers."""

from __future__ import annotations

import json
import shlex

import pytest
from click.testing import CliRunner
from icehouse import judging, run_rounds
from icehouse.cli import main
from icehouse.report.judged import Judged
from icehouse.report.parts import Words
from icehouse.report.repeating import classify_command, extract_command, repeating


@pytest.mark.parametrize(
    "options",
    [
        {"rounds": 2, "heads": ["lda", "knn:n_neighbors=3"], "seed": 5, "controls": False},
        {"folds": 3, "heads": ["logistic"], "repeats": 2, "balance": "weights", "reduce": 2},
        {"rounds": 2, "heads": ["lda"], "test_size": 0.4, "by": "patient", "rule": "mean"},
        {"rounds": 2, "heads": ["lda"], "grouped": False},
        {"rounds": 3, "heads": ["mlp:epochs=2"], "vary": "seed", "validation": 0.2, "positive": "normal"},
        {"rounds": 2, "heads": ["mlp:epochs=2"], "seeds": 2},
    ],
)
def test_the_command_that_a_report_shows_makes_the_same_numbers(
    make_cache, two_clouds, tmp_path, options
) -> None:
    labels = [two_clouds[1][row // 4] for row in range(120)]
    cache = make_cache(two_clouds[0], labels, [f"p {row // 4}" for row in range(120)])
    first = run_rounds(cache, out=tmp_path / "a run", **options, note=lambda _: None)
    command = shlex.split(classify_command(judged_of(first)))
    assert command[:2] == ["icehouse", "classify"]
    command[command.index("-o") + 1] = str(tmp_path / "again")
    done = CliRunner().invoke(main, [*command[1:], "--json", "--quiet"])
    assert done.exit_code == 0, done.output
    again = json.loads(done.stdout)
    for part in ("heads", "by", "confusion", "splits"):
        assert again[part] == first.document[part]
    plans = [json.loads((tmp_path / name / "run.json").read_text())["plan"] for name in ("a run", "again")]
    assert plans[0] == plans[1]


def judged_of(run: judging.Run) -> Judged:
    return Judged(str(run.path), run.document, run._stored)


def test_the_command_that_made_the_vectors_names_what_is_not_usual_and_nothing_else() -> None:
    from icehouse.extract.settings import Settings, set_up

    chosen = Settings(
        backbone="efficientnetlite0",
        weights="random:3",
        intensity="lung/mediastinum/bone",
        frames="open-lung",
        resize="pad",
        views=2,
        augment="flip-horizontal",
    )
    setup = set_up(chosen)
    made_with = {"cache": "my features.h5", "recipe": setup.recipe, "selection": setup.selection}
    assert extract_command(made_with) == (
        "icehouse extract DATA -o 'my features.h5' --backbone efficientnetlite0 --weights random:3 "
        "--intensity lung/mediastinum/bone --frames open-lung --resize pad --views 2 --augment "
        f"{setup.recipe['augment']}"
    )
    assert extract_command({"cache": "x.h5", "recipe": {"kind": "imported"}, "selection": {}}) is None


def test_a_run_of_own_estimators_shows_no_command_that_would_not_make_it(make_cache, two_clouds) -> None:
    from sklearn.naive_bayes import GaussianNB

    run = run_rounds(make_cache(*two_clouds), [("mine", GaussianNB())], rounds=2, controls=False)
    section = repeating([judged_of(run)])
    assert not any("icehouse classify" in part.text for part in section.parts if isinstance(part, Words))
