"""The page with every environment variable: what it sets, and what counts without it."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from anytrack_async import (
    AnyTrackSettings,
    CollectSettings,
    HubSpotSettings,
    MetaSettings,
    OAuthSettings,
    WebhookSettings,
)
from anytrack_async.client.config import KEYS_VARIABLE, OUTBOX_VARIABLE
from anytrack_async.client.environment import CONSOLE_TOKEN_VARIABLE, WEBHOOK_SECRET_VARIABLE
from anytrack_async.client.locations import LISTEN_VARIABLE, SCHEMA_VARIABLE
from anytrack_async.destinations.registry import destinations
from tools.reference.docstrings import attributes

_HEAD = """\
# Environment variables

<!-- Written by `python -m tools.reference` from the settings classes. -->

`AnyTrackClient.from_env()` and the command line read these. An empty variable counts as not set.
A variable that nothing reads, and whose name is similar, is logged as a warning.
[Configuration](configuration.md) tells what can be set in code only.
"""

_CONSENT = (
    "`send`, `limited` or `skip`: what happens without [consent](../guides/visitors-and-consent.md)"
)

_COLLECT_URL = (
    "the collect URL of a custom integration: conversions go there, and AnyTrack's credentials are "
    "needed for reading only; see [the collect URL](../collect.md)."
)

_SETTINGS = (
    AnyTrackSettings,
    CollectSettings,
    MetaSettings,
    HubSpotSettings,
    OAuthSettings,
    WebhookSettings,
)

_OWN = {
    OUTBOX_VARIABLE: "the outbox: a path, `postgresql://…`, or `:memory:`; unset: an outbox in "
    "memory",
    SCHEMA_VARIABLE: "the schema of an outbox in PostgreSQL; default: `anytrack`",
    LISTEN_VARIABLE: "address of the PostgreSQL server itself, if the outbox's is that of a pooler "
    "in transaction mode, such as PgBouncer",
    KEYS_VARIABLE: "keys that encrypt the outbox, separated by commas: the first encrypts, all "
    "decrypt; see [encryption](../operations/encryption.md)",
    WEBHOOK_SECRET_VARIABLE: "secret of the URL that `anytrack listen` serves; see "
    "[webhooks](../webhooks.md)",
    CONSOLE_TOKEN_VARIABLE: "token that `anytrack console` asks for; see "
    "[the console](../console.md)",
}


def page() -> str:
    """Return the page in Markdown."""
    own = _table("The library", list(_OWN.items()))
    return _HEAD + own + "".join(_section(*entry) for entry in _destinations())


def variables() -> set[str]:
    """Return every variable that is read."""
    return {*_OWN, *(name for _, names in _destinations() for name in names)}


def _destinations() -> Iterator[tuple[str, tuple[str, ...]]]:
    for destination in destinations():
        if destination.distribution is None:
            yield destination.name, tuple(destination.sink_class().variables)


def _section(name: str, names: tuple[str, ...]) -> str:
    meanings = _meanings()
    rules = {name: _CONSENT for name in names if "_CONSENT_" in name}
    return _table(name, [(variable, (meanings | rules)[variable]) for variable in names])


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    lines = "\n".join(f"| `{name}` | {' '.join(meaning.split())} |" for name, meaning in rows)
    return f"\n## {title}\n\n| variable | meaning |\n|---|---|\n{lines}\n"


def _meanings() -> dict[str, str]:
    """Return variable → what the docstring of its settings class says about its field."""
    return {
        variable: described.get(field, _COLLECT_URL) + _default(cls, field)
        for cls in _SETTINGS
        for described in [attributes(cls)]
        for field, variable in cls.VARIABLES.items()
    }


def _default(cls: type, field: str) -> str:
    default = getattr(attrs.fields_dict(cls).get(field), "default", None)
    return f" Default: `{default}`." if isinstance(default, str) else ""
