"""CSV files that people write: manifests, labels, patients. What their columns mean is for others to say."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .. import errors
from . import layout


@dataclass(frozen=True)
class Table:
    """A CSV file as texts without blanks around them.

    Parameters
    ----------
    path : Path
    header : tuple of str
        The columns; each has a name of its own.
    rows : list of dict of str to str
        Empty lines are left out.
    lines : list of int
        The line of the file that each row ends in.
    """

    path: Path
    header: tuple[str, ...]
    rows: list[dict[str, str]]
    lines: list[int]

    def by_path(self) -> dict[str, dict[str, str]]:
        """Return the rows by what stands in the column `path`, spelled as a manifest's are.

        Raises
        ------
        SourceError
            If there is no such column, nothing beside it, or a path stands twice.
        """
        if "path" not in self.header or len(self.header) < 2:
            names = ", ".join(self.header)
            raise errors.SourceError(
                f"{self.path} needs a column 'path' and others beside it; it has: {names}."
            )
        found: dict[str, dict[str, str]] = {}
        lines: dict[str, int] = {}
        for row, line in zip(self.rows, self.lines, strict=True):
            path, where = PurePosixPath(row["path"]).as_posix(), f"{self.path}, line {line}"
            if path in found:
                raise errors.SourceError(f"{where}: {path} stands already in line {lines[path]}.")
            check_label(row.get("label", ""), where)
            found[path], lines[path] = row, line
        return found


def check_label(label: str, where: str) -> None:
    """Raise `SourceError` if a label is several."""
    if "|" in label or ";" in label or label.startswith("["):
        raise errors.SourceError(
            f"{where}: {label[:40]!r} holds several labels; icehouse classifies one label a sample."
        )


def read_table(path: Path) -> Table:
    """Read a CSV file with a header, in UTF-8, with commas, semicolons or tabs.

    Raises
    ------
    SourceError
        If it is no such file; the message names the line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise errors.SourceError(
            f"{path} is not UTF-8 text (byte {error.start}): it should be a CSV file; save it as UTF-8."
        ) from None
    except FileNotFoundError:
        raise errors.SourceError(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise errors.SourceError(f"{path} is a folder, not a CSV file.") from None
    except PermissionError:
        raise errors.SourceError(f"No permission to read {path}.") from None
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, lines = [], []
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, path)
        for row in reader:
            if not any(field.strip() for field in row):
                continue
            if len(row) != len(header):
                raise errors.SourceError(
                    f"{path}, line {reader.line_num}: {len(row)} fields where the header has {len(header)}."
                )
            fields = dict(zip(header, (field.strip() for field in row), strict=True))
            _check_texts(fields, path, reader.line_num)
            rows.append(fields)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise errors.SourceError(f"{path}, line {reader.line_num}: not valid CSV ({error}).") from None
    return Table(path, tuple(header), rows, lines)


def _check_header(header: list[str], path: Path) -> None:
    if len(header) > layout.MAX_COLUMNS:
        raise errors.SourceError(f"{path} has {len(header)} columns; a cache holds {layout.MAX_COLUMNS}.")
    for name in header:
        if fault := layout.fault_of(name):
            raise errors.SourceError(f"{path}: the column name {name[:40]!r} {fault}.")
    if not header:
        raise errors.SourceError(f"{path} is empty; a CSV file begins with the names of its columns.")
    if "" in header:
        raise errors.SourceError(f"{path}: column {header.index('') + 1} has no name.")
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise errors.SourceError(f"{path} has the column {repeated[0]!r} more than once.")


def _check_texts(fields: dict[str, str], path: Path, line: int) -> None:
    for name, text in fields.items():
        if fault := layout.fault_of(text):
            raise errors.SourceError(f"{path}, line {line}: the {name} {text[:40]!r} {fault}.")
