"""Experiments: one TOML file that says what is extracted and how heads are judged, and running it.

The keys of the file are the parameters of `api.extract_features` and `judging.run_rounds`, taken from their
signatures, so that there is one list of options. What they mean, and which go together, is for those functions
to say; here a file is read, every key's name and type are checked, and paths and defaults filled in.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import json
import math
import tomllib
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from . import api, errors, judging

if TYPE_CHECKING:
    from .extract.summary import Summary

StrPath = str | Path

_DATA = {"path": "data", "root": "root", "limit": "limit", "labels": "labels"}
"""The keys of [data], and the parameters of `extract_features` that they are."""
_OUTPUT = {"cache": "features.h5", "run": "run", "report": "report.html"}
"""The keys of [output], and their defaults."""
_NO_KEYS_OF_CLASSIFY = ("cache", "labels", "jobs", "partial", "out", "overwrite", "progress", "note")
"""Parameters of `run_rounds` that are said elsewhere, or decide no numbers."""
_COMMAND_LINE = ("jobs", "overwrite", "trust_model", "json", "quiet")


class _Key(NamedTuple):
    """What a key may hold, and what it holds where the file is silent; None stands for nothing."""

    hint: Any
    default: Any


@dataclass(frozen=True)
class Experiment:
    """What an experiment's file says, with the defaults of what it leaves out.

    Parameters
    ----------
    data : dict
        `path` of the images, `root`, `limit` and `labels`; `labels` alone, or nothing, if the experiment starts
        from a cache.
    extract : dict
        The options of `extract_features`; empty if the experiment starts from a cache.
    classify : dict
        The options of `run_rounds` that decide numbers.
    cache, run, report : Path
        Where the vectors, the results and the page that shows them are.

    Notes
    -----
    Options that have no value are left out of the dictionaries.
    """

    data: dict[str, Any]
    extract: dict[str, Any]
    classify: dict[str, Any]
    cache: Path
    run: Path
    report: Path

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return the sections of the file that says all this, its paths absolute."""
        sections = {
            "data": self.data,
            "extract": self.extract,
            "classify": self.classify,
            "output": {"cache": str(self.cache), "run": str(self.run), "report": str(self.report)},
        }
        return {
            section: {key: _placed(section, key, value, Path.cwd()) for key, value in values.items()}
            for section, values in sections.items()
            if values
        }

    def as_toml(self) -> str:
        """Return the text of a file that is read as this experiment, wherever it lies."""
        import tomli_w

        parts = []
        for section, values in self.as_dict().items():
            silent = [key for key in _known()[section] if key not in values]
            comment = f"# not set: {', '.join(silent)}\n" if silent else ""
            parts.append(tomli_w.dumps({section: values}) + comment)
        return "\n".join(parts)


def read(path: StrPath, data: StrPath | None = None, out: StrPath | None = None) -> Experiment:
    """Read the file of an experiment.

    Parameters
    ----------
    path : str or Path
        A TOML file; its paths are relative to its folder.
    data : str or Path, optional
        The images, in place of the file's `path` and `root`.
    out : str or Path, optional
        A folder for run and report, and for the cache unless the experiment starts from one; all keep their
        names.

    Returns
    -------
    Experiment

    Raises
    ------
    UsageError
        If there is no such file, or its content is no experiment; the message names section and key.
    """
    path = Path(path)
    given = _parsed(path)
    _check(given, path)
    only_labels = given.get("data", {}).keys() <= {"labels"} and "extract" not in given
    from_cache = data is None and only_labels and "cache" in given.get("output", {})
    sections: dict[str, dict[str, Any]] = {}
    for section, keys in _known().items():
        held = {**{key: known.default for key, known in keys.items()}, **given.get(section, {})}
        sections[section] = {
            key: list(value) if isinstance(value, tuple) else _placed(section, key, value, path.parent)
            for key, value in held.items()
            if value is not None
        }
    if from_cache:
        sections["extract"] = {}
        sections["data"] = {key: value for key, value in sections["data"].items() if key == "labels"}
    elif data is not None:
        sections["data"]["path"] = str(data)
        sections["data"].pop("root", None)
    elif "path" not in sections["data"]:
        raise errors.UsageError(
            f"{path} does not say where the images are: give path in [data], or --data PATH. To start from a "
            "cache, name it by cache in [output] and leave out [data] and [extract]."
        )
    places = {key: Path(place) for key, place in sections["output"].items()}
    if out is not None:
        kept = {"cache"} if from_cache else set()
        places = {key: place if key in kept else Path(out, place.name) for key, place in places.items()}
    return Experiment(sections["data"], sections["extract"], sections["classify"], **places)


def run(
    experiment: Experiment,
    *,
    jobs: int | None = None,
    overwrite: bool = False,
    trust_model: bool = False,
    progress: Callable[[int, int, str], None] = lambda done, total, words: None,
    note: Callable[[str], None] | None = None,
    extracted: Callable[[Summary], None] = lambda summary: None,
) -> judging.Run:
    """Extract what the cache lacks, judge the heads, show it; an interrupted experiment goes on where it was.

    Parameters
    ----------
    experiment : Experiment
    jobs : int, optional
        Rounds that run at once; one per processor unless told. Changes no number.
    overwrite : bool
        Replace another run, and another page, in the same place.
    trust_model : bool
        Run what a model file asks for; never said by the file of an experiment, which may be somebody else's.
    progress : callable
        Told of images, rounds or parts of the page done, their number, and a few words.
    note : callable, optional
        Told of what was left out; without it, that is a warning.
    extracted : callable
        Given the summary of the extraction when it is done.

    Returns
    -------
    Run

    Raises
    ------
    OutputExists
        If the run is finished already, or there is a page; before anything is computed.
    IcehouseError
        As `extract_features` and `run_rounds` raise them.
    """
    from .report.progress import extraction_words

    _check_before_extracting(experiment, overwrite)
    for place in (experiment.run, experiment.report):
        place.parent.mkdir(parents=True, exist_ok=True)
    if experiment.extract:
        experiment.cache.parent.mkdir(parents=True, exist_ok=True)
        options = {**experiment.data, **experiment.extract}
        summary = api.extract(
            options.pop("path"),
            experiment.cache,
            progress=lambda now: progress(now.done, now.total, extraction_words(now)),
            note=note or (lambda text: None),
            trust_model=trust_model,
            **options,
        )
        extracted(summary)
        if summary.failed:
            text = (
                f"{summary.failed} of {summary.images} images failed; see the failures of {experiment.cache}."
            )
            if note is not None:
                note(text)
            else:
                warnings.warn(text, api.ImagesFailed, stacklevel=2)
    done = judging.run_rounds(
        experiment.cache,
        **experiment.classify,
        labels=None if experiment.extract else experiment.data.get("labels"),
        out=experiment.run,
        jobs=jobs,
        overwrite=overwrite,
        progress=lambda done, total: progress(done, total, "rounds"),
        note=note,
    )
    try:
        done.report(
            experiment.report,
            images=_images(experiment),
            overwrite=overwrite,
            progress=progress,
            note=note,
        )
    except errors.MissingDependency as error:  # the results are there without it
        (note or warnings.warn)(f"{experiment.report} was not written. {error}")
    return done


def _images(experiment: Experiment) -> str | None:
    """Return where the images are, if the experiment's file says so."""
    place = experiment.data.get("root") or experiment.data.get("path")
    return None if place is None else str(place)


def _check_before_extracting(experiment: Experiment, overwrite: bool) -> None:
    """Refuse what the rounds would refuse too, but only after hours of extraction."""
    from .classify import stored
    from .report import page

    judging.check(**experiment.classify)
    if "splits" in experiment.classify:
        stored.read_run(Path(experiment.classify["splits"]))
    taken = experiment.run.is_file() or (experiment.run.is_dir() and any(experiment.run.iterdir()))
    if taken and not (experiment.run / "run.json").is_file():
        raise errors.OutputExists(f"{experiment.run} exists and is not a run. Name another one in [output].")
    try:
        finished = stored.read_run(experiment.run).finished
    except errors.RunError:
        finished = False  # there is none, or one that the rounds will say more of
    if finished and not overwrite:
        raise errors.OutputExists(
            f"{experiment.run} is finished, and nothing was computed. Repeat it with --overwrite, or run it "
            f"elsewhere with -o DIR; icehouse report {experiment.run} shows what it found."
        )
    if experiment.report.absolute().parent.is_dir():  # it is made otherwise
        page.free(experiment.report, overwrite=overwrite)


@functools.cache
def _known() -> dict[str, dict[str, _Key]]:
    """Return the keys of each section."""
    extract, classify = _parameters(api.extract_features), _parameters(judging.run_rounds)
    said_elsewhere = {"cache", "trust_model", *_DATA.values()}
    return {
        "data": {key: extract[name] for key, name in _DATA.items()},
        "extract": {key: known for key, known in extract.items() if key not in said_elsewhere},
        "classify": {key: known for key, known in classify.items() if key not in _NO_KEYS_OF_CLASSIFY},
        "output": {key: _Key(StrPath, default) for key, default in _OUTPUT.items()},
    }


def _parameters(function: Callable[..., Any]) -> dict[str, _Key]:
    hints = get_type_hints(function)
    return {
        name: _Key(hints[name], None if parameter.default is parameter.empty else parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
    }


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise errors.UsageError(f"There is no experiment file {path}.") from None
    except tomllib.TOMLDecodeError as error:
        raise errors.UsageError(f"{path} is not TOML: {error}.") from None
    except UnicodeDecodeError:
        raise errors.UsageError(f"{path} is not TOML: it is not UTF-8 text.") from None


def _check(given: dict[str, Any], path: Path) -> None:
    """Refuse sections and keys that no experiment has, and values of another type."""
    known = _known()
    for section, values in given.items():
        if section not in known:
            raise errors.UsageError(f"{path}: {_no_section(section, isinstance(values, dict))}")
        if not isinstance(values, dict):
            raise errors.UsageError(f"{path}: {section} must be a section, given once: [{section}].")
        for key, value in values.items():
            if key not in known[section]:
                raise errors.UsageError(f"{path}: [{section}] has no key {key!r}. {_better(section, key)}")
            hint = known[section][key].hint
            if not _fits(value, hint):
                shown = json.dumps(value, ensure_ascii=False, default=str)
                raise errors.UsageError(f"{path}: [{section}] {key} must be {_expected(hint)}, not {shown}.")


def _no_section(name: str, is_section: bool) -> str:
    sections = " ".join(f"[{section}]" for section in _known())
    if is_section:
        near = difflib.get_close_matches(name.lower(), _known(), n=1)
        hint = f" Did you mean [{near[0]}]?" if near else ""
        return f"there is no section [{name}].{hint} Known: {sections}."
    homes = [f"[{section}]" for section, keys in _known().items() if name in keys]
    return (
        f"{name!r} stands outside of the sections. It belongs below {' or '.join(homes) or f'one: {sections}'}."
    )


def _better(section: str, key: str) -> str:
    """Return what the user may have meant by a key that the section does not have."""
    if key in _COMMAND_LINE:
        return f"Give --{key.replace('_', '-')} to icehouse run."
    hints = [f"It belongs in [{other}]." for other, keys in _known().items() if key in keys]
    near = difflib.get_close_matches(key.lower().replace("-", "_"), _known()[section], n=1)
    hints += [f"Did you mean {near[0]!r}?"] if near else []
    return " ".join(hints or [f"Known: {', '.join(_known()[section])}."])


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a value of TOML is one that a parameter with this type hint takes."""
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if kind in (Sequence, list, tuple):
        return isinstance(value, list) and all(_fits(item, arguments[0]) for item in value)
    if kind in (Mapping, dict):
        return isinstance(value, dict) and all(_fits(item, Any) for item in value.values())
    if kind is Any:  # but no dates, and no numbers that are none
        items = value if isinstance(value, list) else value.values() if isinstance(value, dict) else None
        if items is not None:
            return all(_fits(item, Any) for item in items)
        return any(_fits(value, plain) for plain in (str, bool, float))
    if isinstance(value, bool):  # which Python counts among the whole numbers
        return kind is bool
    if kind is float:
        return isinstance(value, (int, float)) and math.isfinite(value)
    return isinstance(value, {str: str, Path: str, int: int}.get(kind, ()))


def _expected(hint: Any, *, several: bool = False) -> str:
    """Return what a type hint asks for in words."""
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, types.UnionType):
        kinds = [argument for argument in arguments if not (argument is str and Path in arguments)]
        return " or ".join(word for word in (_expected(item, several=several) for item in kinds) if word)
    if kind in (Sequence, list, tuple):
        return f"{'lists' if several else 'a list'} of {_expected(arguments[0], several=True)}"
    words = {
        str: ("a text", "texts"),
        Path: ("a path", "paths"),
        bool: ("true or false", "true or false"),
        int: ("a whole number", "whole numbers"),
        float: ("a number", "numbers"),
        dict: ("a table", "tables"),
        Mapping: ("a table", "tables"),
        Any: ("a value", "values"),
    }
    return words.get(kind, ("", ""))[several]


def _placed(section: str, key: str, value: Any, folder: Path) -> Any:
    """Return a value; the path in it, if it holds one, as `folder` / path."""
    from .extract.backbones import MODEL
    from .extract.weights import IMAGENET

    if Path in get_args(_known()[section][key].hint):
        return str(folder / value)
    if (section, key) == ("extract", "weights") and value.partition(":")[0] not in (IMAGENET, "random"):
        return str(folder / value)
    if (section, key) == ("extract", "backbone") and value.startswith(MODEL):
        return f"{MODEL}{folder / value.removeprefix(MODEL)}"
    return value
