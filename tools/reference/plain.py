"""The site for programs: ``llms.txt`` lists its pages, ``reference.md`` has all classes."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import anytrack_async
from tools.reference.docstrings import to_markdown

ROOT = Path(__file__).parents[2]
_HEAD = "# anytrack_async\n\n> {summary}\n"


def write(site: Path) -> None:
    """Write both files into the folder of a built site."""
    (site / "llms.txt").write_text(index(), encoding="utf-8")
    (site / "reference.md").write_text(reference(), encoding="utf-8")


def index() -> str:
    """Return ``llms.txt``: each page with its address and its first sentence."""
    config = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    lines = [_HEAD.format(summary=config["site_description"])]
    for section in config["nav"]:
        for title, content in section.items():
            pages = content if isinstance(content, list) else [{title: content}]
            lines.append(f"\n## {title}\n")
            lines += [_line(config["site_url"], name, path) for name, path in _flat(pages)]
    lines.append(
        f"\n## For programs\n\n- [Every class in one file]({config['site_url']}reference.md)"
    )
    return "\n".join(lines) + "\n"


def reference() -> str:
    """Return the reference of all public names in Markdown."""
    sections = [_section(name) for name in anytrack_async.__all__ if name != "__version__"]
    return "# Reference of anytrack_async\n\n" + "\n".join(sections)


def _flat(pages: list) -> Iterator[tuple[str, str]]:
    for page in pages:
        for title, content in page.items():
            if isinstance(content, list):
                yield from _flat(content)
            else:
                yield title, content


def _line(url: str, title: str, path: str) -> str:
    address = url + path.removesuffix("index.md").removesuffix(".md")
    address = address.rstrip("/") + "/"
    return f"- [{title}]({address}): {_first_sentence(ROOT / 'docs' / path)}"


def _first_sentence(page: Path) -> str:
    """Return the first sentence of a page's text, without links."""
    text = re.sub(r"<!--.*?-->|```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    paragraphs = [part for part in text.split("\n\n")[1:] if re.match(r"[A-Za-z`*\[]", part)]
    first = " ".join("".join(paragraphs[:1]).split())
    without_links = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", first)
    return re.split(r"(?<=\.) ", without_links)[0].rstrip(":")


def _section(name: str) -> str:
    thing = getattr(anytrack_async, name)
    parts = [f"## {name}\n", f"```python\n{name}{_signature(thing)}\n```\n", to_markdown(thing)]
    if inspect.isclass(thing):
        for method, function in inspect.getmembers(thing, inspect.isroutine):
            if not method.startswith("_") and function.__doc__ and method in _own_names(thing):
                parts.append(f"\n### {name}.{method}{_signature(function)}\n")
                parts.append(to_markdown(function))
    return "\n".join(parts) + "\n"


def _own_names(cls: type) -> set[str]:
    """Return the names that *cls* and this package's bases of it define."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("anytrack_async")]
    return {name for base in ours for name in vars(base)}


def _signature(thing: object) -> str:
    try:
        return str(inspect.signature(thing)) if callable(thing) else ""
    except ValueError:
        return ""
