"""Promises about seeing from outside what waits in staging folders, whoever is at work there."""

from __future__ import annotations

import os

import numpy as np
from icehouse.cache.staging import Staging
from icehouse.cache.waiting import staging_folders
from making import block_of


def add_a_block(staging: Staging) -> None:
    staging.begin({"kind": "by hand"})
    staging.add(block_of(np.zeros((3, 32), dtype=np.uint8), np.ones((3, 8))))


def test_a_live_writer_is_told_from_what_a_dead_one_left(tmp_path) -> None:
    with Staging(tmp_path / "live.h5") as live:
        add_a_block(live)
        with Staging(tmp_path / "dead.h5") as dead:
            add_a_block(dead)
        left, written = staging_folders(tmp_path)
        assert (left.cache, left.held, left.blocks) == (tmp_path / "dead.h5", False, 1)
        assert (written.cache, written.held, written.blocks) == (tmp_path / "live.h5", True, 1)
        assert written.writer["process"] == os.getpid()
        assert left.bytes == sum(block.stat().st_size for block in left.folder.glob("block-*.npz")) > 0


def test_looking_changes_nothing_and_keeps_nobody_out(tmp_path) -> None:
    with Staging(tmp_path / "a.h5") as staging:
        add_a_block(staging)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "a.h5.partial").iterdir())
    assert [found.held for found in (*staging_folders(tmp_path), *staging_folders(tmp_path))] == [False] * 2
    assert before == sorted(
        (path.name, path.stat().st_mtime_ns) for path in (tmp_path / "a.h5.partial").iterdir()
    )
    with Staging(tmp_path / "a.h5") as again:
        assert len(again.blocks()) == 1


def test_folders_of_others_are_not_taken_for_ours(tmp_path) -> None:
    (tmp_path / "download.partial").mkdir()
    (tmp_path / "file.partial").write_text("x")
    assert staging_folders(tmp_path) == []
