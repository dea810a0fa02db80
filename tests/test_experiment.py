"""Promises about experiment files: one list of options, every mistake named, what a file says is what runs."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from icehouse import ImagesFailed, api, errors, experiment, open_cache, run_rounds
from icehouse.cli import main
from icehouse.extract import engines
from small_network import SmallNetwork

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "rounds.md"


@pytest.fixture(autouse=True)
def _small_network(monkeypatch) -> None:
    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: SmallNetwork(batch_size))


@pytest.fixture
def written(tmp_path):
    """Return a function that writes an experiment's file and returns its path."""

    def write(text: str, name: str = "experiment.toml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


IMAGES = """
[data]
path = "images"
[extract]
backbone = "efficientnetlite0"
[classify]
heads = ["svm", "mlp:epochs=2"]
rounds = 2
"""


def command(*arguments: str | Path):
    """Run `icehouse run` in this process, with the small network."""
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


def test_every_option_that_decides_numbers_is_a_key_and_its_default_is_one_that_a_file_may_say(written) -> None:
    known = experiment._known()
    extract = {*known["data"], *known["extract"], "data", "cache", "trust_model"} - {"path"}
    assert extract == set(inspect.signature(api.extract_features).parameters)
    elsewhere = {"cache", "labels", "jobs", "partial", "out", "overwrite", "progress", "note"}
    assert {*known["classify"]} == set(inspect.signature(run_rounds).parameters) - elsewhere
    for section, keys in known.items():
        for key, (hint, default) in keys.items():
            assert experiment._expected(hint).strip(), (section, key)
            plain = list(default) if isinstance(default, tuple) else default
            assert plain is None or experiment._fits(plain, hint), (section, key)


def test_an_experiment_extracts_and_classifies_as_the_two_commands_do(image_folder, written) -> None:
    chosen = experiment.read(written(IMAGES))
    noted: list[str] = []
    run = experiment.run(chosen, note=noted.append)
    assert run.path == image_folder.parent / "run"
    with open_cache(image_folder.parent / "features.h5") as cache:
        assert len(cache.X) == 12
        apart = run_rounds(cache, ["svm", "mlp:epochs=2"], 2, note=noted.append)
    ignored = {"run": None, "seconds": None}
    assert {**run.document, **ignored} == {**apart.document, **ignored}


def test_the_printed_file_is_read_as_the_same_experiment(tmp_path, written) -> None:
    path = written(
        """
        [data]
        path = "pictures of \\"Zoë\\""
        limit = 20
        labels = "labels.csv"
        [extract]
        backbone = "model:nets/own.keras"
        weights = "w.h5"
        size = "native"
        layers = ["avg_pool", "pyramid"]
        [classify]
        heads = ["svm:C=10"]
        test_size = 0.25
        [output]
        run = "../run"
        """
    )
    chosen = experiment.read(path)
    assert chosen.extract["weights"] == str(tmp_path / "w.h5")
    assert chosen.extract["backbone"] == f"model:{tmp_path / 'nets' / 'own.keras'}"
    assert chosen.cache == tmp_path / "features.h5"
    (tmp_path / "elsewhere").mkdir()
    text = chosen.as_toml()
    again = experiment.read(written(text, "elsewhere/printed.toml"))
    assert again == chosen
    assert again.as_toml() == text
    assert "# not set: root\n" in text
    assert "seeds = 1" in text


def test_print_config_prints_the_resolved_file_and_does_nothing_else(
    image_folder, written, monkeypatch
) -> None:
    monkeypatch.chdir(image_folder)
    path, held = written(IMAGES), {*image_folder.parent.iterdir()}
    done = command("../experiment.toml", "--print-config", "--data", "normal", "-o", "new")
    assert done.exit_code == 0, done.output
    again = experiment.read(written(done.stdout, "printed.toml"))
    assert again.data["path"] == str(image_folder / "normal")
    assert (again.cache, again.run) == (image_folder / "new" / "features.h5", image_folder / "new" / "run")
    assert {*image_folder.parent.iterdir()} == {*held, path, path.with_name("printed.toml")}
    document = json.loads(command(path, "--print-config", "--json").stdout)
    assert document["classify"]["heads"] == ["svm", "mlp:epochs=2"]


def test_paths_of_the_file_belong_to_its_folder_and_those_of_the_command_line_to_where_one_is(written) -> None:
    path = written('[data]\npath = "m.csv"\nroot = "r"\nlabels = "l.csv"\n[output]\ncache = "a/c.h5"\n')
    folder, plain = path.parent, experiment.read(path)
    assert plain.data == {
        name: str(folder / f) for name, f in zip(plain.data, ("m.csv", "r", "l.csv"), strict=True)
    }
    assert (plain.cache, plain.run) == (folder / "a" / "c.h5", folder / "run")
    moved = experiment.read(path, data="other.csv", out="out")
    assert moved.data == {"path": "other.csv", "labels": str(folder / "l.csv")}  # the root was the first one's
    assert (moved.cache, moved.run) == (Path("out/c.h5"), Path("out/run"))
    named = experiment.read(written('[extract]\nweights = "random:3"\n'), data="images")
    assert named.extract["weights"] == "random:3"


def test_an_experiment_without_images_starts_from_a_cache_and_loads_no_framework(
    make_cache, two_clouds, tmp_path, written
) -> None:
    cache = make_cache(*two_clouds)
    path = written('[classify]\nheads = ["svm"]\nrounds = 2\n[output]\ncache = "features.h5"\n')
    chosen = experiment.read(path, out=tmp_path / "out")
    assert (chosen.data, chosen.extract) == ({}, {})
    assert (chosen.cache, chosen.run) == (cache, tmp_path / "out" / "run")  # -o moves no cache that is there
    code = (
        "import sys; from icehouse.cli import main\n"
        "main(['run', 'experiment.toml', '--json'], standalone_mode=False)\n"
        "sys.exit(bool({'tensorflow', 'keras', 'openvino', 'jax', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["run"], document["extraction"], document["rounds"]) == ("run", None, 2)
    assert (tmp_path / "run" / "results.json").exists()


def test_an_interrupted_experiment_goes_on_and_a_finished_one_says_so_before_it_computes(
    image_folder, written, capsys
) -> None:
    class Stopped(Exception):
        pass

    seen: list[tuple[int, int, str]] = []

    def stop(done: int, total: int, words: str) -> None:
        if (done, words) == (1, "rounds"):
            raise Stopped

    chosen, silent = experiment.read(written(IMAGES)), {"note": lambda text: None, "jobs": 1}
    with pytest.raises(Stopped):
        experiment.run(chosen, progress=stop, **silent)
    computed: list[int] = []
    run = experiment.run(
        chosen,
        progress=lambda *now: seen.append(now),
        extracted=lambda summary: computed.append(summary.computed),
        **silent,
    )
    assert computed == [0]
    assert next(now for now in seen if now[2] == "rounds")[:2] == (1, 4)
    assert len(run.document["heads"]["svm"]["accuracy"]["rounds"]) == 2
    (image_folder / "covid" / "0.png").unlink()
    with pytest.raises(errors.OutputExists, match=r"run is finished, and nothing was computed\..*--overwrite"):
        experiment.run(chosen, **silent)
    with open_cache(chosen.cache) as cache:
        assert len(cache.samples) == 12
    assert experiment.run(chosen, overwrite=True, **silent).document["rows"] == 11


def test_a_wrong_head_is_refused_before_anything_is_computed(image_folder, written) -> None:
    done = command(written(IMAGES.replace("svm", "svn")))
    assert done.exit_code == 2
    assert "Did you mean 'svm'?" in done.stderr
    assert not (image_folder.parent / "features.h5").exists()


def test_failed_images_end_with_3_and_are_listed_beside_the_results(image_folder, written) -> None:
    (image_folder / "covid" / "bad.png").write_text("no image")
    path = written(IMAGES)
    done = command(path, "-o", image_folder.parent / "new" / "folder")
    assert done.exit_code == 3, done.output
    assert re.search(r"features\.h5: 13 samples, 13 images: 12 computed, 0 reused, 1 failed", done.stdout)
    assert "covid/bad.png" in done.stdout
    assert "average" in done.stdout
    assert "not a medical device" in done.stdout
    again = command(path, "-o", image_folder.parent / "new" / "folder", "--overwrite", "--json", "--quiet")
    assert (again.exit_code, again.stderr) == (3, "")
    document = json.loads(again.stdout)
    assert (document["extraction"]["reused"], document["extraction"]["failed"]) == (12, 1)
    assert set(document["heads"]) == {"svm", "mlp:epochs=2"}
    with pytest.warns() as caught:
        experiment.run(experiment.read(path))
    assert "1 of 13 images failed" in str([one.message for one in caught if one.category is ImagesFailed])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[clasify]\nheads = ["svm"]', "there is no section [clasify]. Did you mean [classify]?"),
        ("[report]", "there is no section [report]. Known: [data] [extract] [classify] [output]."),
        ("rounds = 3", "'rounds' stands outside of the sections. It belongs below [classify]."),
        ("colour = 3", "It belongs below one: [data] [extract] [classify] [output]."),
        ('data = "images"', "data must be a section, given once: [data]."),
        ("[[classify]]\n[[classify]]", "classify must be a section, given once: [classify]."),
        ("[classify]\nround = 3", "[classify] has no key 'round'. Did you mean 'rounds'?"),
        ("[classify]\ntest-size = 0.5", "[classify] has no key 'test-size'. Did you mean 'test_size'?"),
        ('[classify]\nbackbone = "vgg16"', "[classify] has no key 'backbone'. It belongs in [extract]."),
        ("[extract]\nlimit = 5", "[extract] has no key 'limit'. It belongs in [data]."),
        ("[extract]\nlayer = []", "It belongs in [classify]. Did you mean 'layers'?"),
        ("[classify]\njobs = 2", "Give --jobs to icehouse run."),
        ("[output]\nxyz = 1", "[output] has no key 'xyz'. Known: cache, run, report."),
        ('[classify]\nrounds = "ten"', '[classify] rounds must be a whole number, not "ten".'),
        ("[classify]\nrounds = 2.5", "[classify] rounds must be a whole number, not 2.5."),
        ("[classify]\nrounds = true", "[classify] rounds must be a whole number, not true."),
        ("[classify]\ntest_size = nan", "[classify] test_size must be a number, not NaN."),
        ('[classify]\nheads = "svm"', "[classify] heads must be a list of "),
        ('[extract]\nlayers = ["a", 3]', '[extract] layers must be a list of texts, not ["a", 3].'),
        ("[extract]\nsize = [64]", "[extract] size must be a whole number or a text, not [64]."),
        ("[extract]\ntrust_model = true", "Give --trust-model to icehouse run."),
        ("[extract]\naccept_drift = 1", "[extract] accept_drift must be true or false, not 1."),
        ("[data]\npath = 2024-01-01", '[data] path must be a path, not "2024-01-01".'),
        ("[data]\nlimit = 3", "does not say where the images are: give path in [data], or --data PATH."),
        ('[extract]\nviews = 2\n[output]\ncache = "c.h5"', "does not say where the images are"),
        ("", "does not say where the images are"),
        ("[data]\npath = images", "is not TOML: Invalid value (at line 2, column 8)."),
        ("[data\n", "is not TOML: "),
    ],
)
def test_every_mistake_in_a_file_is_one_sentence_with_what_was_meant(text, words, written) -> None:
    path = written(text)
    with pytest.raises(errors.UsageError) as caught:
        experiment.read(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert command(path).exit_code == 2


def test_a_file_that_is_none_is_named(tmp_path, written) -> None:
    for path in (tmp_path / "nothing.toml", tmp_path):
        with pytest.raises(errors.UsageError, match=f"There is no experiment file {path}"):
            experiment.read(path)
    (tmp_path / "latin.toml").write_bytes('[data]\npath = "Zoë"'.encode("latin-1"))
    with pytest.raises(errors.UsageError, match=r"latin\.toml is not TOML: it is not UTF-8 text"):
        experiment.read(tmp_path / "latin.toml")


def test_images_and_caches_that_are_not_there_are_named_with_the_folder_of_the_file(tmp_path, written) -> None:
    done = command(written(IMAGES))
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"There is no file or folder {tmp_path / 'images'}" in done.stderr
    done = command(written('[output]\ncache = "features.h5"'))
    assert done.exit_code == 1
    assert str(tmp_path / "features.h5") in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_head_may_be_a_table_and_is_the_run_of_its_text(make_cache, two_clouds, tmp_path, written) -> None:
    make_cache(*two_clouds)
    text = '[classify]\nheads = {}\nrounds = 2\n[output]\ncache = "features.h5"\n'
    tables = '[{name = "mlp", hidden = [8, 4], epochs = 2}]'
    chosen = experiment.read(written(text.format(tables)))
    assert experiment.read(written(chosen.as_toml(), "printed.toml")) == chosen
    run = experiment.run(chosen, note=lambda text: None)
    typed = experiment.read(written(text.format('["mlp:hidden=8-4,epochs=2"]')), out=tmp_path / "typed")
    assert run.document["heads"] == experiment.run(typed, note=lambda text: None).document["heads"]
    with pytest.raises(errors.UsageError, match="heads must be a list"):
        experiment.read(written(text.format('[{name = "svm", C = 2024-01-01}]')))


def test_the_guide_names_every_key_and_its_example_is_an_experiment(written) -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+)`", guide))
    for keys in experiment._known().values():
        assert set(keys) <= named
    (example,) = re.findall(r"```toml\n(.*?)```", guide, flags=re.DOTALL)
    assert experiment.read(written(example)).data


def test_an_experiment_on_a_cache_may_bring_labels_of_its_own(
    make_cache, two_clouds, tmp_path, written
) -> None:
    make_cache(*two_clouds)
    with open_cache(tmp_path / "features.h5") as cache:
        lines = [
            f"{path},{'flu' if label == 'covid' else 'well'}"
            for path, label in zip(cache.samples.path, cache.y, strict=True)
        ]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *lines]))
    text = """
        [data]
        labels = "labels.csv"
        [classify]
        heads = ["svm"]
        rounds = 2
        positive = "flu"
        [output]
        cache = "features.h5"
        """
    chosen = experiment.read(written(text))
    assert experiment.read(written(chosen.as_toml(), "printed.toml")) == chosen
    assert experiment.run(chosen, note=lambda text: None).document["classes"] == ["flu", "well"]


def test_splits_that_are_nowhere_and_a_run_in_a_files_place_are_refused_before_anything(
    tmp_path, written
) -> None:
    (tmp_path / "taken").write_text("x")
    for text, error in (
        ('[classify]\nsplits = "nowhere"', errors.RunError),
        ('[output]\nrun = "taken"', errors.OutputExists),
    ):
        chosen = experiment.read(written(f'[data]\npath = "nothing"\n{text}'))
        with pytest.raises(error):
            experiment.run(chosen, note=lambda text: None)


def test_an_experiment_ends_in_a_page_that_shows_it(image_folder, tmp_path, written) -> None:
    pytest.importorskip("plotly")
    file = written(IMAGES)
    done = command(file, "--json", "--quiet")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["report"] == str(tmp_path / "report.html")
    assert "Images, right and wrong" in (tmp_path / "report.html").read_text(encoding="utf-8")
    again = command(file)
    assert again.exit_code == 1
    assert f"icehouse report {tmp_path / 'run'}" in again.stderr


def test_what_is_no_page_is_refused_before_anything_is_computed(image_folder, tmp_path, written) -> None:
    pytest.importorskip("plotly")
    (tmp_path / "report.html").write_text("mine")
    done = command(written(IMAGES), "--overwrite")
    assert done.exit_code == 1
    assert "report.html is no page of icehouse" in done.stderr
    assert not (tmp_path / "features.h5").exists()
