"""How easy the code is to walk through, in numbers: ``make house``.

Nothing here fails a build. Each row has a measure, its value and its target;
``python -m benchmarks.house --where`` also lists the places behind the rows that miss their target.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import io
import re
import subprocess
import sys
import tempfile
import threading
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import anyio
import httpx

from anytrack_async import AnyTrackClient

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "anytrack_async"
SUPPORT = ("sandbox", "testing", "cli", "demo")
"""Parts that come along for users' tests and terminals: not counted in files per 1,000 lines."""

PRONOUNS = frozenset(
    (
        *("one", "ones", "this", "that", "these", "those", "it", "them", "who", "whom", "what"),
        *("both", "others", "rest", "some", "any_", "all_", "several"),
        *("found", "given", "known", "told", "kept", "held", "left", "asked", "tried", "taken"),
        *("made", "done", "gone", "at"),
    )
)
"""Names that say nothing of what a variable holds: pronouns, participles, prepositions."""

_VAGUE_WORDS = re.compile(
    r"\b(who|whom|whose|whoever|nobody|somebody|anybody's|besides|sooner|thus|thereof|"
    r"what\s+(?:is|was|are|were|it|they|a|the|comes|came|has|had))\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
_BRANCHES = (
    *(ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.Assert),
    *(ast.comprehension, ast.match_case),
)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DOCUMENTED = (ast.Module, ast.ClassDef, *_FUNCTIONS)


class Row(NamedTuple):
    """One measure.

    Attributes:
        name: what is measured.
        value: the value now, ready to print.
        target: the value to reach, ready to print.
        good: whether the value reaches the target.
        places: where to look, worst first.
    """

    name: str
    value: str
    target: str
    good: bool
    places: Sequence[str] = ()


@cache
def files() -> tuple[Path, ...]:
    """Every Python file of the package."""
    return tuple(sorted(PACKAGE.rglob("*.py")))


@cache
def text(path: Path) -> str:
    """The source of a file."""
    return path.read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(text(path))


def place(path: Path, line: int) -> str:
    """Return a position as editors open it."""
    return f"{path.relative_to(ROOT)}:{line}"


# Size


def docstrings(path: Path) -> Iterator[ast.Constant]:
    """Yield the docstrings of a file, and the strings that stand below an assignment."""
    for node in ast.walk(tree(path)):
        if isinstance(node, _DOCUMENTED):
            values = [part.value for part in node.body if isinstance(part, ast.Expr)]
            for value in values:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value


def comment_lines(path: Path) -> dict[int, str]:
    """Return line → comment, leaving out instructions to tools."""
    tokens = tokenize.generate_tokens(io.StringIO(text(path)).readline)
    return {
        token.start[0]: token.string
        for token in tokens
        if token.type == tokenize.COMMENT and not re.match(r"#\s*(noqa|type:|pragma)", token.string)
    }


@cache
def code_lines(path: Path) -> int:
    """Count the lines that are neither blank nor only a comment or a docstring."""
    prose = {
        number
        for string in docstrings(path)
        for number in range(string.lineno, (string.end_lineno or string.lineno) + 1)
    }
    lines = text(path).splitlines()
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") and number not in prose
        for number, line in enumerate(lines, 1)
    )


def file_count() -> Row:
    """Count the files of the package."""
    small = sorted((code_lines(path), path) for path in files() if path.name != "__init__.py")
    places = [f"{place(path, 1)} {lines} code lines" for lines, path in small[:40]]
    return Row("files in the package", str(len(files())), "≤ 165", len(files()) <= 165, places)


def density() -> Row:
    """Count files per 1,000 lines of code, without what only supports users' tests."""
    core = [path for path in files() if path.relative_to(PACKAGE).parts[0] not in SUPPORT]
    value = 1_000 * len(core) / sum(map(code_lines, core))
    return Row("files per 1,000 code lines", f"{value:.1f}", "≤ 9", value <= 9)


def comments() -> Row:
    """Compare comments with code."""
    code = sum(map(code_lines, files()))
    value = 100 * sum(len(comment_lines(path)) for path in files()) / code
    bare = sorted((path for path in files() if not comment_lines(path)), key=code_lines)
    places = [f"{place(path, 1)} {code_lines(path)} code lines, no comment" for path in bare[::-1]]
    return Row("comments / code", f"{value:.1f} %", "4-7 %", 4 <= value <= 7, places)


# Words


def stored_names(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each variable and argument of a file, with its line."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg) and node.arg not in ("self", "cls"):
            yield node.arg, node.lineno


def pronouns() -> Row:
    """Count variables that are named by a pronoun."""
    names = [(path, name, line) for path in files() for name, line in stored_names(path)]
    bad = [(path, name, line) for path, name, line in names if name.strip("_") in PRONOUNS]
    value = 100 * len(bad) / len(names)
    places = [f"{place(path, line)} {name}" for path, name, line in bad]
    return Row("pronoun variables", f"{value:.1f} %", "≤ 1 %", value <= 1, places)


def vague_words() -> Row:
    """Count the words by which sentences hide their subject."""
    words, places = 0, []
    for path in files():
        for string in docstrings(path):
            words += len(_WORD.findall(string.value))
            for match in _VAGUE_WORDS.finditer(string.value):
                line = string.lineno + string.value[: match.start()].count("\n")
                places.append(f"{place(path, line)} {match[0]}")
    value = 1_000 * len(places) / words
    name = "who, nobody, what is, besides … per 1,000 docstring words"
    return Row(name, f"{value:.1f}", "≤ 0.5", value <= 0.5, places)


# Functions


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield every function of the package."""
    for path in files():
        for node in ast.walk(tree(path)):
            if isinstance(node, _FUNCTIONS):
                yield path, node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function, without its docstring."""
    documentation = ast.get_docstring(function, clean=False)
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    return lines - (documentation.count("\n") + 1 if documentation else 0)


def complexity(function: ast.AST) -> int:
    """Count the paths through a function, McCabe's way, with each condition of a boolean."""
    count = 1
    for node in ast.walk(function):
        count += isinstance(node, _BRANCHES)
        if isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
        if isinstance(node, ast.comprehension):
            count += len(node.ifs)
    return count


def long_functions() -> Row:
    """Count functions of more than 40 lines."""
    rows = [(length(node), path, node) for path, node in functions() if length(node) > 40]
    places = [f"{place(path, node.lineno)} {node.name}: {size}" for size, path, node in rows]
    return Row("functions over 40 lines", str(len(rows)), "0", not rows, places)


def complex_functions() -> Row:
    """Count functions with more than ten paths."""
    rows = [(complexity(node), path, node) for path, node in functions() if complexity(node) > 10]
    places = [f"{place(path, node.lineno)} {node.name}: {size}" for size, path, node in rows]
    return Row("functions of complexity over 10", str(len(rows)), "≤ 5", len(rows) <= 5, places)


# Imports


def module_of(path: Path) -> str:
    """Return the dotted name of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_at_load(path: Path) -> set[str]:
    """Return the package's modules that a file imports when it is loaded."""
    modules = {module_of(other) for other in files()}
    names: set[str] = set()
    for node in tree(path).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                names.add(whole if whole in modules else node.module)
    return names & modules - {"anytrack_async"}


def cycles() -> Row:
    """Count the groups of modules that import each other."""
    graph = {module_of(path): imports_at_load(path) for path in files()}
    while leaves := {name for name, targets in graph.items() if not targets & graph.keys()}:
        graph = {name: targets for name, targets in graph.items() if name not in leaves}
    return Row("modules in or above an import cycle", str(len(graph)), "0", not graph, [*graph])


# The files that one conversion passes through


class CallTrace:
    """Records the file of each call of a function of the package, in every thread."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.recording = False

    def record(self, frame: FrameType, event: str, _: object) -> None:
        """Record a call; for `sys.setprofile`."""
        if self.recording and event == "call":
            name = frame.f_code.co_filename
            if name.startswith(str(PACKAGE)):
                self.files.append(name)

    async def track_one_sale(self, outbox: Path) -> None:
        """Track one sale with an outbox on disk and a transport that answers at once."""

        def answer(_: httpx.Request) -> httpx.Response:
            return httpx.Response(201, json={"status": "success", "conversion_id": "c-1"})

        transport = httpx.MockTransport(answer)
        client = AnyTrackClient("key", "account", outbox=outbox, transport=transport)
        async with client:
            await client.track_sale("click-0", "9.90", "EUR", order_id="1000")
            await anyio.sleep(0.2)  # until the lane waits for work again
            self.recording = True
            await client.track_sale("click-1", "49.90", "EUR", order_id="1001")
            self.recording = False


def trace_files() -> list[str]:
    """Return the files that one `track_sale` enters, in order, with repeats."""
    trace = CallTrace()
    threading.setprofile(trace.record)  # the outbox's thread starts when the client opens
    sys.setprofile(trace.record)
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(trace.track_one_sale(Path(folder) / "outbox.db"))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return trace.files


def files_of_one_sale() -> tuple[Row, Row]:
    """Count the files that one `track_sale` enters, and the changes from file to file."""
    files_entered = trace_files()
    entered = Counter(files_entered)
    changes = sum(before != after for before, after in pairwise(files_entered))
    places = [f"{Path(name).relative_to(ROOT)} {count}" for name, count in entered.most_common()]
    return (
        Row(
            "files entered by one track_sale", str(len(entered)), "≤ 30", len(entered) <= 30, places
        ),
        Row("changes from file to file by one track_sale", str(changes), "≤ 110", changes <= 110),
    )


# The wheel


def wheel() -> Row:
    """Measure the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, "."]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        (built,) = Path(folder).glob("*.whl")
        size = built.stat().st_size / 1000
    return Row("wheel", f"{size:.0f} KB", "≤ 330 KB", size <= 330)


def main() -> None:
    """Print all rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.house", description=__doc__)
    parser.add_argument("--where", action="store_true", help="list the places behind each row")
    parser.add_argument("--in", dest="folder", default="", help="only places with this in the path")
    parser.add_argument(
        "--no-wheel", action="store_true", help="leave the wheel out, it takes long"
    )
    options = parser.parse_args()
    rows = [
        *files_of_one_sale(),
        *(file_count(), density(), pronouns(), vague_words(), comments()),
        *(long_functions(), complex_functions(), cycles()),
        *([] if options.no_wheel else [wheel()]),
    ]
    for row in rows:
        print(f"{'ok  ' if row.good else 'MISS'}  {row.name}: {row.value} (target {row.target})")
        if options.where and not row.good:
            print(*(f"        {line}" for line in row.places if options.folder in line), sep="\n")


if __name__ == "__main__":
    main()
