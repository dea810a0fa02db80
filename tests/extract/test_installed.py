"""Promises about what is installed and what is wanted, on packages made for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from icehouse.extract import installed

ICEHOUSE = """
Requires-Dist: frost>=2.0
Requires-Dist: glacier>=1.5; extra == "thaw"
Requires-Dist: meltwater==3.0; extra == "thaw"
Requires-Dist: floe>=1; python_version < "3" and extra == "thaw"
Requires-Dist: sleet>=1; extra == "storm"
Requires-Dist: icehouse[thaw]; extra == "storm"
Provides-Extra: thaw
Provides-Extra: storm
"""


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Return a function that installs a package without code, and put it before all others."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name: str, version: str, more: str = "") -> Path:
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        head = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
        (folder / "METADATA").write_text(head + more.lstrip())
        return folder

    install("icehouse", "0.1.0", ICEHOUSE)
    return install


def test_each_extra_tells_what_is_there_missing_and_of_another_version_than_wanted(packages) -> None:
    packages("frost", "2.1")
    packages("glacier", "1.4")
    packages("sleet", "1.0rc1.dev2")
    found = installed.extras()
    assert set(found) == {installed.ALWAYS, "thaw", "storm"}
    assert found[installed.ALWAYS].present == {"frost": "2.1"}
    assert (found["thaw"].missing, found["thaw"].unsuited) == (["meltwater==3.0"], {"glacier>=1.5": "1.4"})
    assert found["storm"].unsuited == {"glacier>=1.5": "1.4", "sleet>=1": "1.0rc1.dev2"}
    assert found["storm"].missing == ["meltwater==3.0"]


def test_packages_that_do_not_go_together_are_named(packages) -> None:
    packages("frost", "2.1")
    packages("glacier", "1.6", "Requires-Dist: frost<2.1,>=1\nRequires-Dist: hail>9; extra == 'more'\n")
    packages("hail", "1.0")
    assert installed.conflicts() == ["glacier 1.6 wants frost<2.1,>=1, and 2.1 is installed"]


def test_what_others_wrote_badly_is_passed_over(packages) -> None:
    packages("frost", "2.1", "Requires-Dist: glacier (is good\n")
    packages("glacier", "built-by-hand")
    assert installed.conflicts() == []
    assert installed.extras()["thaw"].present == {"glacier": "built-by-hand"}
