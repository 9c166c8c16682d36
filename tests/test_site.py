"""The pages of the documentation: complete, reachable, and true about names, commands and files."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

import anytrack_async
from anytrack_async.cli.app import app
from anytrack_async.destinations import registry
from tools.reference import __main__ as generated
from tools.reference import environment, plain

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CONFIG = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = {page.relative_to(ROOT): page.read_text(encoding="utf-8") for page in PAGES}
TEXTS[Path("README.md")] = README


def in_navigation() -> list[str]:
    """The paths of all pages in the navigation."""
    return [path for _, path in plain._flat(CONFIG["nav"])]


def commands() -> dict[str, set[str]]:
    """Each command of the command line with its options."""
    return dict(_walk("anytrack", typer.main.get_command(app)))


def _walk(path: str, command: typer.core.TyperCommand) -> Iterator[tuple[str, set[str]]]:
    flags = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}
    yield path, flags | {"--help"}
    for name, inner in getattr(command, "commands", {}).items():
        yield from _walk(f"{path} {name}", inner)


def calls(text: str) -> list[str]:
    """The calls of `anytrack` in a page: those in backticks, and those in blocks of a console."""
    spans = re.findall(r"`(anytrack [^`\n]+)`", text)
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"\n|&&|[|()]", block)]
    return spans + [
        call[1] for part in parts if (call := re.search(r"(?:^|[\s$&])(anytrack [^#]+)", part))
    ]


def test_every_page_is_in_the_navigation_once() -> None:
    pages = Counter(in_navigation())

    assert {*pages.values()} == {1}
    assert {*pages} == {str(page.relative_to(DOCS)) for page in PAGES}


def test_the_generated_pages_are_what_the_code_says() -> None:
    assert generated.outdated() == []


def test_every_public_name_has_one_place_in_the_reference() -> None:
    pages = [page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md")]
    names = Counter(
        name
        for text in pages
        for name in re.findall(r"^(?:::: anytrack_async\.|## )(\w+)$", text, re.MULTILINE)
        if name in anytrack_async.__all__
    )

    assert {*names.values()} == {1}
    assert {*anytrack_async.__all__} - {*names} == {"__version__"}


def test_every_environment_variable_is_described() -> None:
    page = environment.page()

    for variable in environment.variables():
        (meaning,) = re.findall(rf"^\| `{variable}` \| (.+) \|$", page, re.MULTILINE)
        assert len(meaning) > 10, variable


@pytest.mark.parametrize("path", TEXTS, ids=str)
def test_a_page_names_only_variables_that_are_read(path: Path) -> None:
    prefixes = "ANYTRACK|META|HUBSPOT|SIGNED_WEBHOOK"
    named = {*re.findall(rf"\b(?:{prefixes})_[A-Z_]*[A-Z]\b(?!…)", TEXTS[path])}
    tests = {"ANYTRACK_TEST_POSTGRES", "ANYTRACK_TEST_NATS", "ANYTRACK_REQUIRE_SERVERS"}

    assert named <= environment.variables() | tests


@pytest.mark.parametrize("path", TEXTS, ids=str)
def test_a_page_names_only_commands_and_options_that_exist(path: Path) -> None:
    known = commands()
    for call in calls(TEXTS[path]):
        words = call.split()
        name = next(name for n in (3, 2, 1) if (name := " ".join(words[:n])) in known)
        flags = {word.partition("=")[0] for word in words if re.match(r"--\w", word)}
        assert name != "anytrack" or words[1].startswith("-"), f"no such command: {call}"
        assert flags <= known[name], call


@pytest.mark.parametrize("path", TEXTS, ids=str)
def test_a_page_names_only_files_that_exist(path: Path) -> None:
    for name in re.findall(
        r"`((?:docs|tests|benchmarks|anytrack_async|tools)/[\w./-]+)`", TEXTS[path]
    ):
        assert (ROOT / name).exists() or list(ROOT.glob(f"{name}*")), name


def test_the_links_of_the_readme_lead_to_pages() -> None:
    url = CONFIG["site_url"]
    targets = re.findall(r"\]\((\S+)\)", README)
    paths = [target.removeprefix(url).strip("/") for target in targets]

    assert all(target.startswith(url) for target in targets)
    pictures = [path for path in paths if path.startswith("images/")]
    assert all((DOCS / picture).is_file() for picture in pictures)
    pages = {page.removesuffix(".md").removesuffix("/index") for page in in_navigation()}
    assert len(paths) > 25
    assert {*paths} - {*pictures} <= pages


def test_the_files_for_programs_have_every_page_and_every_name(tmp_path: Path) -> None:
    plain.write(tmp_path)

    listing = (tmp_path / "llms.txt").read_text(encoding="utf-8")
    lines = re.findall(r"^- \[.+\]\((https://.+/)\): (.{10,})", listing, re.MULTILINE)
    assert len(lines) == len(PAGES)
    assert not [text for _, text in lines if "```" in text or "](" in text or "|" in text]
    reference = (tmp_path / "reference.md").read_text(encoding="utf-8")
    names = {*re.findall(r"^## (\w+)$", reference, re.MULTILINE)}
    assert {*anytrack_async.__all__} - {"__version__"} <= names
    assert "### AnyTrackClient.submit_many" in reference


WRONG = {
    r"dead-letter(?:s|ed)?\b(?! queue)": "dead letter",
    r"back ?pressure(?!\.md)": "back-pressure",
    r"click-?id\b": "click id",
    r"back ?fill(?:s|ed|ing)?\b(?! a file)": "back-fill",
    r"e-?mails?\b(?= address)(?<!e-mail)(?<!e-mails)": "e-mail",
    r"behavior|normalize|serialize|color|canceled": "British spelling",
}
"""A pattern in the text of a page → the word of the glossary."""


@pytest.mark.parametrize("path", TEXTS, ids=str)
def test_a_page_spells_words_as_the_glossary_does(path: Path) -> None:
    if path.name == "changelog.md" or "<!-- Written by" in TEXTS[path]:
        return
    text = re.sub(
        r"```.*?```|`[^`]+`|\]\([^)]+\)|<!--.*?-->|::: .*?\n", "", TEXTS[path], flags=re.DOTALL
    )
    for pattern, right in WRONG.items():
        wrong = re.findall(rf"\b(?:{pattern})", text)
        assert not wrong, f"{wrong[0]}: {right}"


@pytest.mark.parametrize("name", ["anytrack", "hubspot", "meta", "signed-webhook"])
def test_a_page_of_a_destination_has_the_shape_of_the_others(name: str) -> None:
    text = TEXTS[Path(f"docs/destinations/{name}.md")]
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", text, re.MULTILINE)
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)

    assert rows == ["Needs", "Sends", "Matches by", "Returns", "Test mode"]
    assert headings[:4] == [
        *("Mapping", "Limits and duplicates", "Errors, and what the lane does", "Privacy")
    ]


def test_each_built_in_destination_has_a_page() -> None:
    pages = {path.stem for path in (DOCS / "destinations").glob("*.md")} - {"index"}

    assert pages == {*registry.BUILT_IN} - {registry.COLLECT}


def test_the_security_policy_says_the_same_in_both_places() -> None:
    policy = " ".join((ROOT / "SECURITY.md").read_text(encoding="utf-8").split())
    page = " ".join(TEXTS[Path("docs/about/security.md")].split())

    assert policy.partition("Report a")[2].partition("first.")[0] in page


def test_a_table_of_columns_in_the_documentation_can_be_loaded(tmp_path: Path) -> None:
    blocks = re.findall(
        r"^```toml\n(.+?)^```", TEXTS[Path("docs/guides/backfill.md")], re.MULTILINE | re.DOTALL
    )
    (tmp_path / "map.toml").write_text("".join(blocks), encoding="utf-8")

    assert anytrack_async.load_mapping(tmp_path / "map.toml").name == "my-shop"
