"""`anytrack backfill` of a path that cannot be read says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize("option", ["--dry-run", "--inspect"])
def test_a_missing_file(run, tmp_path, option):
    path = tmp_path / "missing.csv"

    result = run("backfill", path, option)

    assert result.code == 2
    assert f"{path} does not exist: check the path" in result.err
    assert "Errno" not in result.err


def test_a_missing_mapping(run, tmp_path):
    result = run("backfill", tmp_path / "any.csv", "--dry-run", "--map", tmp_path / "map.toml")

    assert result.code == 2
    assert "map.toml does not exist: check the path" in result.err


def test_a_folder(run, tmp_path):
    result = run("backfill", tmp_path, "--dry-run")

    assert result.code == 2
    assert f"{tmp_path} is a folder: name the files in it" in result.err


def test_a_file_without_permission(run, tmp_path, monkeypatch):
    path = tmp_path / "locked.csv"
    path.touch()

    def refuse(self: Path, *_: object, **__: object) -> None:  # root may read every file
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    result = run("backfill", path, "--dry-run")

    assert result.code == 2
    assert f"{path} cannot be opened: check its permissions" in result.err
