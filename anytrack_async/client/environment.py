"""A warning for environment variables that nothing reads, with the nearest one that is read.

A misspelt ``ANYTRACK_OUTBOX`` would leave the outbox in memory, unnoticed. The names of variables
are logged, never their values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Final

from anytrack_async.client.config import KEYS_VARIABLE, OUTBOX_VARIABLE
from anytrack_async.client.locations import LISTEN_VARIABLE, SCHEMA_VARIABLE
from anytrack_async.destinations.registry import BUILT_IN, Destination, destinations
from anytrack_async.errors import ConfigurationError
from anytrack_async.events import logger

WEBHOOK_SECRET_VARIABLE = "ANYTRACK_WEBHOOK_SECRET"  # noqa: S105 - the variable's name
"""The environment variable with the secret of the webhook's URL; several separated by commas."""

CONSOLE_TOKEN_VARIABLE = "ANYTRACK_CONSOLE_TOKEN"  # noqa: S105 - the variable's name
"""The environment variable with the token that opens the console."""

LIBRARY_VARIABLES: Final = (
    *(OUTBOX_VARIABLE, SCHEMA_VARIABLE, LISTEN_VARIABLE, KEYS_VARIABLE),
    *(WEBHOOK_SECRET_VARIABLE, CONSOLE_TOKEN_VARIABLE),
)
"""Environment variables that belong to no destination."""

_OWN_PREFIX = "ANYTRACK_"
_OTHERS = re.compile(
    r"ANYTRACK_(TEST_\w+|REQUIRE_SERVERS|(\w+_)?SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_\w+)?)"
)
"""Variables of this library's tests, and those that Kubernetes sets for a service "anytrack"."""

_SIMILAR, _NEARLY_EQUAL = 0.55, 0.85
"""Similarity of two names, 1 at most. Other programs may have variables that begin with META_."""

_warned: set[str] = set()
"""Variables that this process has warned of; each is told once."""


def warn_of_unknown_variables(environ: Mapping[str, str] | None = None) -> None:
    """Log a warning for each variable that nothing reads although its name looks like ours.

    Args:
        environ: variables to use instead of the process's environment.
    """
    source = os.environ if environ is None else environ
    for name, hint in unknown_variables(source).items():
        if name not in _warned:
            _warned.add(name)
            logger.warning("nothing reads the environment variable %r: %s", name, hint)


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that nothing reads → which one was probably meant."""
    ours = [name for name, value in environ.items() if value and _may_be_ours(name)]
    if not ours:
        return {}
    variables = _known_variables(ours)
    unknown = (name for name in ours if name not in variables and not _OTHERS.fullmatch(name))
    return {name: hint for name in unknown if (hint := _hint(name, variables, environ))}


def _hint(name: str, variables: Iterable[str], environ: Mapping[str, str]) -> str:
    """Return which of the *variables* may be meant; empty if *name* is another program's."""
    if nearest := _nearest(name, variables, environ):
        return f"did you mean {nearest}?"
    if _is_own(name):
        return f"known are {', '.join(sorted(filter(_is_own, variables)))}"
    return ""


def _is_own(name: str) -> bool:
    """Return whether *name* begins like our variables: ``ANYTRAK_OUTBOX`` does too."""
    return name.startswith(_OWN_PREFIX[:4])


_PREFIXES = tuple(Destination(name, location).prefix for name, location in BUILT_IN.items())


def _may_be_ours(name: str) -> bool:
    """Return whether *name*, which is not the name of one of our variables, may stand for one."""
    if name in LIBRARY_VARIABLES:
        return False
    spelling = name.strip().upper()
    return _is_own(spelling) or spelling.startswith(_PREFIXES)


def _known_variables(names: Iterable[str]) -> set[str]:
    """Return the variables that are read by destinations with prefixes like those of *names*."""
    spellings, variables = [name.strip().upper() for name in names], set(LIBRARY_VARIABLES)
    try:
        for destination in destinations():  # others' modules are not imported
            if _is_own(destination.prefix) or any(
                spelling.startswith(destination.prefix) for spelling in spellings
            ):
                variables.update(destination.sink_class().variables)
    except ConfigurationError:
        pass  # making a client raises it too
    return variables


def _nearest(name: str, variables: Iterable[str], environ: Mapping[str, str]) -> str | None:
    """Return the variable that was probably meant; of another service's, only a clear one."""
    spelling = name.strip().upper().replace("-", "_")
    if spelling in variables:
        return spelling
    own = _is_own(spelling)
    candidates = [item for item in variables if (_is_own(item) if own else not environ.get(item))]
    scores = {item: _similarity(spelling, item) for item in candidates}
    nearest = max(scores, key=scores.__getitem__, default=None)
    enough = _SIMILAR if own else _NEARLY_EQUAL
    return nearest if nearest and scores[nearest] >= enough else None


def _similarity(name: str, other: str) -> float:
    """Return how similar two names are without our prefix; a difference in length counts more."""
    from difflib import SequenceMatcher  # few programs have a variable that nothing reads

    first, second = (item.partition("_")[2] if _is_own(item) else item for item in (name, other))
    return SequenceMatcher(None, first, second).ratio() - 0.02 * abs(len(first) - len(second))
