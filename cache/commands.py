"""The commands of `icehouse cache`: each calls one function of this room and shows what came of it.

Everything but click is imported inside the commands, so that `icehouse --help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..console import Group, anonymize_options, debug_option, json_option, show

_file = click.Path(path_type=Path, readable=False)


@click.group(cls=Group)
@debug_option
def cache() -> None:
    """Look at caches, prove them sound, take them apart and put them together."""


@cache.command()
@click.argument("file", type=_file)
@json_option
@debug_option
def info(file: Path, as_json: bool) -> None:
    """Show what a cache is, what it was made with and what it holds."""
    from ..report import caches
    from .info import describe
    from .store import Cache

    with Cache(file) as opened:
        show(describe(opened), as_json, caches.info_text)


@cache.command()
@click.argument("file", type=_file)
@click.option("--sample", type=click.IntRange(1), help="Read only N blocks of each dataset, drawn at random.")
@json_option
@debug_option
@click.pass_context
def verify(ctx: click.Context, file: Path, sample: int | None, as_json: bool) -> None:
    """Compare every block of a cache with its checksum; exit code 1 if anything is damaged."""
    from ..report import caches
    from .store import Cache
    from .verify import verify as verify_cache

    with Cache(file) as opened:
        found = verify_cache(opened, sample=sample)
    show(found.as_dict(file), as_json, caches.verify_text)
    if not found.intact:
        ctx.exit(1)


@cache.command()
@click.argument("file", type=_file)
@click.option("-o", "--output", type=_file, help="A new file; in place unless given.")
@click.option("--compact", is_flag=True, help="Drop vectors that no sample takes any more.")
@json_option
@debug_option
def repair(file: Path, output: Path | None, compact: bool, as_json: bool) -> None:
    """Keep every intact row of a damaged cache, and list the lost ones: the next extract computes them."""
    from ..report import caches
    from .repair import repair as repair_cache

    show(repair_cache(file, output, compact=compact), as_json, caches.repair_text)


@cache.command()
@click.argument("files", type=_file, nargs=-1, required=True)
@click.option("-o", "--output", type=_file, required=True, help="The new cache.")
@click.option("--prefer", type=_file, help="The cache whose labels, patients and splits count in a conflict.")
@click.option("--prefix", is_flag=True, help="Put each cache's name before its paths.")
@click.option("--accept-drift", is_flag=True, help="Merge although the networks' results have drifted apart.")
@anonymize_options
@json_option
@debug_option
def merge(
    files: tuple[Path, ...],
    output: Path,
    anonymize: bool,
    keep_columns: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Make one cache of several of one recipe; the same image is kept once."""
    from ..report import caches
    from .anonymize import pseudonyms
    from .merge import merge as merge_caches

    result = merge_caches(files, output, pseudonyms=pseudonyms(anonymize, keep_columns), **options)
    show(result, as_json, caches.merge_text)


@cache.command()
@click.argument("file", type=_file)
@click.option("-o", "--output", "folder", type=_file, required=True, help="The folder for the parts.")
@click.option("--by", help="A column: split, label, patient or one of your own; a part for each value.")
@click.option("--class", "label", help="A class: a part with it, and one with the rest.")
@click.option("--patients", type=_file, help="A list of patients: a part with them, and one with the rest.")
@anonymize_options
@json_option
@debug_option
def split(
    file: Path, folder: Path, anonymize: bool, keep_columns: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Write the parts of a cache as caches of their own."""
    from ..report import caches
    from .anonymize import pseudonyms
    from .split import split as split_cache

    result = split_cache(file, folder, pseudonyms=pseudonyms(anonymize, keep_columns), **options)
    show(result, as_json, caches.split_text)


@cache.command()
@click.argument("file", type=_file)
@click.option("-o", "--output", type=_file, required=True, help="A new file: .npz or .parquet.")
@click.option("--layer", help="Which layer's vectors; the first unless told.")
@anonymize_options
@json_option
@debug_option
def export(
    file: Path, output: Path, layer: str | None, anonymize: bool, keep_columns: tuple[str, ...], as_json: bool
) -> None:
    """Write a cache's vectors, labels and patients for other tools, as .npz or .parquet."""
    from ..report import caches
    from .anonymize import pseudonyms
    from .export import export as export_cache
    from .store import Cache

    names = pseudonyms(anonymize, keep_columns)
    with Cache(file) as opened:
        samples = names.samples(opened.samples) if names else None
        show(export_cache(opened, output, layer=layer, samples=samples), as_json, caches.export_text)


@cache.command("import")
@click.argument("vectors", type=_file)
@click.option("-o", "--output", "cache_file", type=_file, required=True, help="The new cache.")
@click.option(
    "--table", type=_file, help="A CSV with a row for each vector: path, label, patient, split, others."
)
@click.option(
    "--origin", help="Which network or program made the vectors; needed unless icehouse exported them."
)
@click.option(
    "--layer", default="imported", show_default=True, help="What the vectors are called in the cache."
)
@click.option("--column", help="The array or column that holds the vectors, where that is not plain.")
@json_option
@debug_option
def import_(vectors: Path, cache_file: Path, as_json: bool, **options: Any) -> None:
    """Make a cache of vectors that come from elsewhere: .npz, .npy with --table, or .parquet."""
    from ..report import caches
    from .foreign import import_vectors

    show(import_vectors(vectors, cache_file, **options), as_json, caches.import_text)


@cache.command()
@click.argument("first", type=_file)
@click.argument("second", type=_file)
@json_option
@debug_option
def diff(first: Path, second: Path, as_json: bool) -> None:
    """Show how two caches differ: in each field of the recipe, and in what they hold."""
    from ..report import caches
    from .info import compare
    from .store import Cache

    with Cache(first) as one, Cache(second) as two:
        show(compare(one, two), as_json, caches.diff_text)
