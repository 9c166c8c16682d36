"""Third-party files are those of their packages, have licences, and are in the wheel."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

from anytrack_async.web_console.pages import FOLDER

VENDOR = FOLDER / "static" / "vendor"
PACKAGES = tomllib.loads((FOLDER / "VENDORED.toml").read_text(encoding="utf-8"))["package"]


def test_every_third_party_file_has_the_hash_that_it_was_fetched_with():
    hashes = {file["name"]: file["sha256"] for package in PACKAGES for file in package["file"]}

    assert hashes == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()
    }


def test_every_package_has_a_version_and_its_licence():
    for package in PACKAGES:
        assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"])
        text = (VENDOR / package["licence_file"]).read_text(encoding="utf-8")
        assert "Permission" in text


def test_own_files_ask_no_other_host_for_anything():
    for path in [*FOLDER.rglob("*.html"), *FOLDER.glob("static/*")]:
        if path.is_file() and path.suffix != ".svg":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(?:https?:)?//[a-z0-9-]+\.", text), path.name
            assert not re.search(r"\son[a-z]+=|\sstyle=|<style|javascript:", text), path.name


def test_the_distribution_names_the_licences():
    pyproject = tomllib.loads(
        (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    )

    assert any("vendor/*.LICENSE.txt" in name for name in pyproject["project"]["license-files"])
