"""Fetches the console's scripts and styles from their npm packages: ``python -m tools.vendor``.

Each package's files and licence are copied as they are, and ``VENDORED.toml`` gets their versions
and hashes, which a test compares. To update a package, change its version in `PACKAGES`.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

FOLDER = Path(__file__).parent.parent / "anytrack_async" / "web_console" / "static" / "vendor"
LIST = FOLDER.parent.parent / "VENDORED.toml"

_HEADER = """\
# Third-party files of the console, written by `python -m tools.vendor`. Do not edit them.
"""


class Package(NamedTuple):
    """A package of npm.

    Attributes:
        name: its name.
        version: the version to fetch.
        licence: its licence's SPDX id.
        licence_file: the path of the licence's text in the package.
        files: paths in the package of the files that the console serves.
    """

    name: str
    version: str
    licence: str
    licence_file: str
    files: tuple[str, ...]


PACKAGES = (
    Package("htmx.org", "2.0.11", "0BSD", "LICENSE", ("dist/htmx.min.js",)),
    Package("htmx-ext-sse", "2.2.4", "0BSD", "LICENSE", ("dist/sse.min.js",)),
    Package("uplot", "1.6.32", "MIT", "LICENSE", ("dist/uPlot.iife.min.js", "dist/uPlot.min.css")),
    Package("@picocss/pico", "2.1.1", "MIT", "LICENSE.md", ("css/pico.min.css",)),
)


def main() -> None:
    """Replace the files and the list."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.iterdir():
        path.unlink()
    sections = [_HEADER]
    for package in PACKAGES:
        sections.append("".join(fetch(package)))
        sys.stdout.write(f"{package.name} {package.version}\n")
    LIST.write_text("\n".join(sections), encoding="utf-8")


def fetch(package: Package) -> Iterator[str]:
    """Copy the files of *package*, and yield its part of the list."""
    with tempfile.TemporaryDirectory() as folder:
        command = ("npm", "pack", "--silent", f"{package.name}@{package.version}")
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as tar:
            contents = {
                path: tar.extractfile(f"package/{path}").read()  # type: ignore[union-attr]
                for path in (package.licence_file, *package.files)
            }
    licence = f"{package.name.split('/')[-1]}.LICENSE.txt"
    yield "[[package]]\n"
    yield f'name = "{package.name}"\nversion = "{package.version}"\n'
    yield f'licence = "{package.licence}"\nlicence_file = "{licence}"\n'
    for path, content in contents.items():
        name = licence if path == package.licence_file else PurePosixPath(path).name
        FOLDER.joinpath(name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        yield f'[[package.file]]\nname = "{name}"\nsource = "{path}"\nsha256 = "{digest}"\n'


if __name__ == "__main__":
    main()
