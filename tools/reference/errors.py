"""The page with every error: what it means, which attributes it has, and what catches it."""

from __future__ import annotations

import inspect

from anytrack_async import errors
from tools.reference.docstrings import to_markdown

_OBVIOUS = (Exception, BaseException, object)
_HEAD = """\
# Every error

<!-- Written by `python -m tools.reference` from the docstrings in anytrack_async/errors. -->

[What to do about each of them](../guides/errors.md) is on a page of its own. All of them are
subclasses of `AnyTrackError`, can be pickled, and contain neither tokens nor customers' data.

```text
{tree}
```
"""


def page() -> str:
    """Return the page in Markdown."""
    sections = [_section(name) for name in errors.__all__]
    return _HEAD.format(tree=_tree()) + "".join(sections)


def _tree() -> str:
    """Return the tree that the module's docstring begins with."""
    lines = inspect.cleandoc(errors.__doc__ or "").splitlines()
    tree = [line.removeprefix("    ") for line in lines if line.startswith("    ")]
    return "\n".join(tree)


def _section(name: str) -> str:
    cls: type = getattr(errors, name)
    bases = ", ".join(f"`{base.__name__}`" for base in cls.__mro__[1:] if base not in _OBVIOUS)
    caught = f"Also caught as: {bases}.\n\n" if bases else ""
    return f"\n## {name}\n\n{caught}{to_markdown(cls)}\n"
