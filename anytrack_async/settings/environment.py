"""What a setting may hold: shared checks, and fields whose `repr` keeps a secret."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import attrs

from anytrack_async.errors import ConfigurationError

_T = TypeVar("_T")


def secret(**options: Any) -> Any:
    """Return an attrs field for a token or key: printable ASCII, never shown in the `repr`."""
    return attrs.field(repr=_redacted, validator=_token, **options)


def _redacted(value: object) -> str:
    return "None" if value is None else "'…'"


def _token(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is None and field.default is None:
        return
    not_empty(_, field, value)
    text = str(value)
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ConfigurationError(f"{field.name} must be printable ASCII without blanks around it")


def not_empty(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Refuse empty text, and what is no text."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{field.name} must be text, got {type(value).__name__}")
    if not value.strip():
        raise ConfigurationError(f"{field.name} must not be empty")


def positive(_: object, field: attrs.Attribute[Any], value: float) -> None:
    """Refuse zero, less, and what is no number."""
    if not _is_number(value) or not value > 0:
        raise ConfigurationError(f"{field.name} must be a number of more than 0, got {value!r}")


def not_negative(_: object, field: attrs.Attribute[Any], value: float) -> None:
    """Refuse less than zero, and what is no number."""
    if not _is_number(value) or not value >= 0:
        raise ConfigurationError(f"{field.name} must be a number of at least 0, got {value!r}")


def whole(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is no whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(
            f"{field.name} must be a whole number of at least 1, got {value!r}"
        )


def function(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Refuse what cannot be called, but for None."""
    if value is not None and not callable(value):
        raise ConfigurationError(f"{field.name} must be a function")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def one_of(*allowed: str) -> Callable[[Any, attrs.Attribute[Any], object], None]:
    """Return a validator for one of some words."""

    def validate(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if value not in allowed:
            choices = ", ".join(map(repr, allowed))
            raise ConfigurationError(f"{field.name} must be one of {choices}, got {value!r}")

    return validate


def made_of(cls: type) -> Callable[[Any, attrs.Attribute[Any], object], None]:
    """Return a validator for a *cls*."""

    def validate(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, cls):
            kind = type(value).__name__
            raise ConfigurationError(f"{field.name} must be a {cls.__name__}(…), got {kind}")

    return validate


def base_url(value: str) -> str:
    """Return *value* without a slash at its end.

    Raises:
        ConfigurationError: it is neither HTTPS nor plain HTTP to this very machine, or has more
            than host, port and path.
    """
    url = _split(value)
    secure = url.scheme == "https" or (url.scheme == "http" and is_loopback(url.hostname or ""))
    if not url.hostname or not secure:
        raise ConfigurationError(
            "base_url must be https://… (plain http:// only to localhost, for tests and the "
            "sandbox)"
        )
    if "@" in url.netloc or "?" in value or "#" in value:
        # They would show in every repr and log of the URL.
        raise ConfigurationError("base_url must not hold a user name, a query or a fragment")
    return value.rstrip("/")


def _split(value: object) -> SplitResult:
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise ConfigurationError("base_url must be text without blanks")
    try:
        url = urlsplit(value)
        _ = url.port  # is checked when asked for
    except ValueError:
        raise ConfigurationError("base_url is not a URL: check host and port") from None
    return url


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


def build(cls: type[_T], given: Mapping[str, Any], names: Mapping[str, str], **more: Any) -> _T:
    """Return a *cls* made of what is *given* and *more*.

    Raises:
        ConfigurationError: a value is not valid; the message names its variable.
    """
    try:
        return cls(**given, **more)
    except ConfigurationError as exc:
        setting = str(exc).partition(" ")[0]
        if setting not in given:
            raise
        raise ConfigurationError(f"{names[setting]}: {exc}") from None
