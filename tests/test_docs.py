"""Promises about what is written: the guide builds, and every command, option, name and link in it exists."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import icehouse
import pytest
from icehouse import scoring
from icehouse.bundle.predicted import Predicted
from icehouse.cache.samples import Samples
from icehouse.cli import main
from icehouse.experiment import Experiment

ROOT = Path(__file__).resolve().parent.parent
GUIDE = [ROOT / "docs" / f"{name}.md" for name in ("start", "cache", "rounds", "predict", "speed")]
READ = [ROOT / "README.md", *GUIDE]
EVERYWHERE = {"--help", "--debug", "--json", "--quiet"}  # said once for all commands, in start.md
FOREIGN = {"mypy", "pip", "pytest", "python3", "ruff", "sphinx-build"}


def by_name(path: Path) -> str:
    return path.name


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@dataclasses.dataclass
class Parts:
    """What a Markdown page is made of."""

    fenced: list[tuple[str, str]]  # language and code
    typed: list[str]  # lines of code, without those of a language
    inline: list[str]
    prose: str  # without code


def parts_of(text: str) -> Parts:
    fenced = re.findall(r"^```(\S*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (.*)$", rest, flags=re.MULTILINE)
    rest = re.sub(r"^    .*$", "", rest, flags=re.MULTILINE)
    shell = [line for language, code in fenced if language in {"", "bash"} for line in code.splitlines()]
    inline = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest)]
    return Parts(fenced, shell + indented, inline, re.sub(r"`[^`]+`", "", rest))


def commands_in(lines: list[str]) -> Iterator[list[str]]:
    """Yield the words of each call of icehouse or of a benchmark, without the program's own."""
    for line in lines:
        for piece in line.removeprefix("$ ").split(" && "):
            program = piece.split(" ", 1)[0]
            if program.endswith("icehouse") or re.match(r"(python )?benchmarks/\w", piece):
                yield shlex.split(piece.removeprefix("python "), comments=True)


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, under in command.commands.items():
            yield from leaves(under, (*path, name))
    else:
        yield " ".join(path), command


COMMANDS = dict(leaves(main))


def options_of(command: click.Command) -> list[set[str]]:
    """Return the names of each option, such as {"-o", "--output"}."""
    return [
        {*option.opts, *option.secondary_opts} for option in command.params if isinstance(option, click.Option)
    ]


ALL_OPTIONS = set().union(*(names for command in COMMANDS.values() for names in options_of(command)))
ALL_OPTIONS |= {"-h", "--help", "--version"}


def check(words: list[str], *, whole: bool) -> None:
    """Fail unless a call names what there is; if `whole`, it must also be ready to run.

    In the guide's way of writing, `…` stands for more of the same, [ ] for what may be left out, a | b for a
    choice, and CAPITALS for what the reader puts in.
    """
    if words[0].startswith("benchmarks/"):
        script = read(ROOT / words[0])
        for word in words[1:]:
            assert not word.startswith("--") or f'"{word}"' in script, f"{words[0]} has no {word}"
        return
    whole = whole and not any(mark in word for word in words for mark in "…[]|")
    words = [word.strip("[]").rstrip("…") for word in words[1:]]
    words = [word for word in words if word]
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command = command.commands[words.pop(0)]
    context = click.Context(command, info_name=command.name, resilient_parsing=True)
    if whole and not isinstance(command, click.Group):
        command.make_context(command.name, words)
        return
    given = command.make_parser(context).parse_args(words)[0]
    for option in command.params:
        values = given.get(option.name)
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, str) and not re.fullmatch(r"[A-Z][A-Z0-9,:]*", value):
                for choice in value.split("|"):
                    option.type.convert(choice, option, context)


# --- commands


@pytest.mark.parametrize("path", READ, ids=by_name)
def test_every_command_line_names_a_command_and_options_that_exist(path) -> None:
    parts = parts_of(read(path))
    found = [(words, True) for words in commands_in(parts.typed)]
    found += [(words, False) for words in commands_in(parts.inline)]
    assert found
    for words, whole in found:
        try:
            check(words, whole=whole)
        except (AssertionError, click.ClickException, OSError) as error:
            pytest.fail(f"{' '.join(words)}: {error}")


@pytest.mark.parametrize("path", READ, ids=by_name)
def test_every_option_that_is_named_is_one_of_a_command(path) -> None:
    spans = [span for span in parts_of(read(path)).inline if span.split()[0] not in FOREIGN]
    named = {
        option
        for span in spans
        if "benchmarks/" not in span
        for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", span)
        if span.startswith(("-", "icehouse ")) or option.startswith("--")
    }
    assert named <= ALL_OPTIONS


@pytest.mark.parametrize(
    "line",
    [
        "icehouse extrct DATA -o CACHE",
        "icehouse cache mend features.h5",
        "icehouse extract data/ -o features.h5 --bakbone inceptionv3",
        "icehouse classify features.h5",
        "icehouse classify features.h5 -o run --vary heads",
        "icehouse classify features.h5 -o run --rounds 0",
        "icehouse classify CACHE -o RUN… --vary both|heads",
        "icehouse classify --rounds",
        "python benchmarks/rounds.py --quicker",
        "python benchmarks/walking.py",
    ],
)
def test_a_command_line_that_would_fail_is_told_from_one_that_runs(line) -> None:
    (words,) = commands_in([line])
    with pytest.raises((AssertionError, click.ClickException, OSError)):
        check(words, whole=True)


def documented() -> dict[str, set[str]]:
    """Return the options that the guide's tables of commands give to each command."""
    found: dict[str, set[str]] = {}
    for path in GUIDE:
        for table in re.findall(
            r"^\| command \| options \|\n\|---\|---\|\n((?:\|.*\n)+)", read(path), re.MULTILINE
        ):
            for row in table.splitlines():
                call, rest = re.match(r"\| `icehouse ([^`]*)` \|(.*)", row).groups()
                name = " ".join(re.match(r"(?:[a-z]+ ?)+", call).group().split())
                assert name not in found, f"{name} is documented twice"
                found[name] = set(re.findall(r"`(--?[a-z][a-z-]*)[^`]*`", rest)) & ALL_OPTIONS
    return found


def test_the_guide_has_every_command() -> None:
    assert set(documented()) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_guide_has_every_option_of(name) -> None:
    said = documented().get(name, set())
    options = options_of(COMMANDS[name])
    missing = [names for names in options if not names & (said | EVERYWHERE)]
    assert not missing
    assert said <= set().union(*options)


def test_what_every_command_takes_is_said_once() -> None:
    spans = parts_of(read(GUIDE[0])).inline
    assert set(spans) >= EVERYWHERE
    assert all(EVERYWHERE.isdisjoint(said) for said in documented().values())


def test_the_readme_has_every_command() -> None:
    named = {words[1] for words in commands_in(parts_of(read(READ[0])).inline) if len(words) > 1}
    assert set(main.commands) <= named


# --- Python


def blocks() -> list[tuple[str, str]]:
    return [
        (path.name, code)
        for path in READ
        for language, code in parts_of(read(path)).fenced
        if language == "python"
    ]


def attributes_of(thing: object) -> set[str]:
    names = set(dir(thing))
    if inspect.isclass(thing):
        names |= set(getattr(thing, "__dataclass_fields__", ()))
        names |= set(re.findall(r"\bself\.(\w+)(?:: [^=\n]+)? = ", inspect.getsource(thing)))
    return names


class Names(ast.NodeVisitor):
    """Look up each name of icehouse that a piece of code uses, and the keywords that it is called with."""

    def __init__(self) -> None:
        self.known: dict[str, object] = {"icehouse": icehouse}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module == "icehouse":
            for alias in node.names:
                self.known[alias.name] = importlib.import_module(f"icehouse.{alias.name}")

    def visit_Assign(self, node: ast.Assign) -> None:
        made = self.value(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name) and made is not None:
                self.known[target.id] = made

    def visit_Expr(self, node: ast.Expr) -> None:
        self.value(node.value)

    def value(self, node: ast.AST) -> object:
        """Return what an expression is: a module, a function, or the class of an object; None if unknown."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        inner = [self.value(part) for part in ast.iter_child_nodes(node)]
        if isinstance(node, ast.Attribute) and inner[0] is not None:
            assert node.attr in attributes_of(inner[0]), f"{ast.unparse(node)} does not exist"
            found = getattr(inner[0], node.attr, None)
            if isinstance(found, property | functools.cached_property):
                return class_made_by(found.fget if isinstance(found, property) else found.func)
            return found
        if isinstance(node, ast.Call) and inspect.isfunction(inner[0]):
            parameters = inspect.signature(inner[0]).parameters
            allowed = set(parameters)
            if "choices" in parameters:
                allowed |= {field.name for field in dataclasses.fields(scoring.Choices)}
            for keyword in node.keywords:
                assert keyword.arg in allowed, f"{ast.unparse(node)}: there is no {keyword.arg}"
            return class_made_by(inner[0])
        return None


CLASSES = {
    thing.__name__: thing
    for thing in (icehouse.Cache, icehouse.FittedHead, icehouse.Run, Experiment, Predicted, Samples)
}


def class_made_by(function: Callable) -> object:
    """Return the class that a function is annotated to return, if the code may go on with it."""
    return CLASSES.get(str(inspect.signature(function).return_annotation))


def check_code(code: str) -> None:
    Names().visit(ast.parse(code))


@pytest.mark.parametrize("code", [code for _, code in blocks()], ids=[page for page, _ in blocks()])
def test_python_in_the_guide_names_what_there_is(code) -> None:
    check_code(code)


@pytest.mark.parametrize(
    "code",
    [
        "icehouse.open_caches('a.h5')",
        "cache = icehouse.open_cache('a.h5')\ncache.vektors()",
        "print(icehouse.run_rounds('a.h5', round=3).table())",
        "head = icehouse.load_head('a.head')\nhead.predict(['a.png'], thresold=0.5).rows",
        "icehouse.load_head('a.head').predict(['a.png']).lines",
        "from icehouse import experiment\nexperiment.walk('a.toml')",
        "from icehouse import experiments",
        "icehouse.open_cache('a.h5').samples.as_dictionary()",
    ],
)
def test_python_that_would_fail_is_told_from_what_runs(code) -> None:
    with pytest.raises((AssertionError, ModuleNotFoundError)):
        check_code(code)


# --- pages, links, paths


def anchors_of(path: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", read(path), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", [*READ, ROOT / "CONTRIBUTING.md"], ids=by_name)
def test_every_link_to_a_file_or_heading_of_ours_leads_there(path) -> None:
    text = re.sub(r"^```.*?^```", "", read(path), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://")):
            name, _, anchor = target.partition("#")
            there = (path.parent / name).resolve() if name else path
            assert there.exists(), target
            assert not anchor or anchor in anchors_of(there), target


def test_pages_that_are_named_anywhere_exist() -> None:
    files = [path for kind in ("*.py", "*.md", "*.cfg") for path in ROOT.rglob(kind)]
    files = [path for path in files if not {"build", "_build", ".venv"} & set(path.relative_to(ROOT).parts)]
    named = {(path, name) for path in files for name in re.findall(r"\bdocs/(\w+\.md)", read(path))}
    assert len(named) > 5
    for path, name in named:
        assert (ROOT / "docs" / name).exists(), f"{path} names docs/{name}"


def test_the_guide_is_five_pages_that_read_in_one_sitting() -> None:
    assert {path.name for path in (ROOT / "docs").glob("*.md")} == {"index.md", *map(by_name, GUIDE)}
    texts = [
        re.sub(r"^(?:```.*?^```|    .*?$)", "", read(path), flags=re.MULTILINE | re.DOTALL) for path in GUIDE
    ]
    words = [word for text in texts for word in text.split() if re.search(r"[^\W\d_]", word)]
    assert 5_000 < len(words) < 8_500  # of prose and tables; code and numbers are looked at, not read


def test_no_page_names_a_path_of_somebodys_machine() -> None:
    for path in [*READ, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        assert not re.findall(r"(?<![\w.~])(?:/(?:home|root|tmp|work|mnt|Users)/|[A-Z]:\\)\w+", read(path)), (
            path
        )


def test_the_guide_is_built_without_a_warning_and_asks_no_other_site_for_anything(tmp_path) -> None:
    for name in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(name)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "-b", "html", ROOT / "docs", tmp_path]
    done = subprocess.run([*command, "-d", tmp_path / "read"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for path in GUIDE:
        page = read(tmp_path / f"{path.stem}.html")
        assert not re.findall(r"<(?:script|link|img|iframe)[^>]*\b(?:src|href)=\"(?:https?:)?//[^\"]+", page)


def test_the_demo_that_the_readme_begins_with_goes_the_whole_way(icehouse, tmp_path) -> None:
    done = icehouse("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "icehouse-demo"
    assert len(list((folder / "images" / "images").iterdir())) == 256
    assert len(list((folder / "external" / "images").iterdir())) == 51
    results = json.loads((folder / "run" / "results.json").read_text())
    assert results["rounds"] == 10
    assert results["positive"] == "diseased"
    assert results["grouped"] is True
    assert sum(map(sum, results["confusion"]["mlp"]["sum"])) == 770
    for head, metrics in results["heads"].items():
        assert metrics["accuracy"]["mean"] > 0.75, head
    for place in ("images/manifest.csv", "external/manifest.csv", "features.h5", "external_features.h5", "run"):
        assert str(tmp_path / "icehouse-demo" / place).removeprefix(f"{tmp_path}/") in done.stdout
    assert "not a medical device" in done.stdout
    assert "dataset.ready" in (folder / "report.html").read_text(encoding="utf-8")
    assert len(list((folder / "heat").glob("*diseased*.png"))) == 8
    rows = (folder / "predictions.csv").read_text().splitlines()
    assert rows[0] == "path,patient,predicted,p_diseased,p_normal,ood,in_training,error"
    assert len(rows) == 52
    assert "51 samples judged, of 51 patients" in done.stdout
    evaluated = done.stdout.partition("51 samples judged")[2]
    accuracy, low, high = re.search(r"^ accuracy +(\S+) +(\S+) to (\S+)$", evaluated, re.MULTILINE).groups()
    assert 0.75 < float(accuracy) < float(high) <= 1
    assert float(low) < float(accuracy)
