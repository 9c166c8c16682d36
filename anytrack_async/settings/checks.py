"""What a setting may hold: shared checks, and fields whose `repr` keeps a secret."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import attrs

from anytrack_async.errors import ConfigurationError


def secret(**options: Any) -> Any:
    """Return an attrs field for a token or key: printable ASCII, never shown in the `repr`."""
    return attrs.field(repr=_redacted, validator=_token, **options)


def _redacted(value: object) -> str:
    return "None" if value is None else "'…'"


def _token(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is None and field.default is None:
        return
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{field.name} must not be empty")
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise ConfigurationError(f"{field.name} must be printable ASCII without blanks around it")


def not_empty(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Refuse empty text."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{field.name} must not be empty")


def positive(_: object, field: attrs.Attribute[Any], value: float) -> None:
    """Refuse zero and less."""
    if not value > 0:
        raise ConfigurationError(f"{field.name} must be more than 0, got {value!r}")


def not_negative(_: object, field: attrs.Attribute[Any], value: float) -> None:
    """Refuse less than zero."""
    if not value >= 0:
        raise ConfigurationError(f"{field.name} must not be negative, got {value!r}")


def base_url(value: str) -> str:
    """Return *value* without a slash at its end.

    Raises:
        ConfigurationError: it is neither HTTPS nor plain HTTP to this very machine.
    """
    url = urlsplit(value)
    if url.scheme == "https" and url.hostname:
        return value.rstrip("/")
    if url.scheme == "http" and url.hostname and is_loopback(url.hostname):
        return value.rstrip("/")
    raise ConfigurationError(
        "base_url must be https://… (plain http:// only to localhost, for tests and the sandbox)"
    )


def is_loopback(host: str) -> bool:
    """Tell whether *host* is this very machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def from_environment(names: Mapping[str, str], environ: Mapping[str, str] | None) -> dict[str, Any]:
    """Return setting → value for those of *names* (setting → variable) that are set."""
    source = os.environ if environ is None else environ
    return {setting: source[name] for setting, name in names.items() if source.get(name)}


def require(given: Mapping[str, str], names: Mapping[str, str], *settings: str) -> None:
    """Raise `ConfigurationError` naming the variables of *settings* that are not *given*."""
    missing = [names[setting] for setting in settings if setting not in given]
    if missing:
        raise ConfigurationError(f"set {' and '.join(missing)} in the environment")
