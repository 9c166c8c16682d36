"""Fields of settings classes: validators, redacted secrets, environment variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, TypeAlias, TypeVar
from urllib.parse import SplitResult, urlsplit

import attrs

from anytrack_async.descriptions import shown
from anytrack_async.errors import ConfigurationError

_T = TypeVar("_T")
_Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]

_INTEGER_LIMIT = 2**63  # of SQLite, and of most functions of Python


# Text


def non_empty(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate that *value* is text and not only whitespace, such as a query of several lines."""
    _check_text(field.name, value)


def _check_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be text, got {type(value).__name__}")
    if not value.strip():
        raise ConfigurationError(f"{name} must not be empty")
    return value


def check_header_value(name: str, value: object) -> str:
    """Return *value* if an HTTP header can carry it: a token or an id.

    Args:
        name: of the setting or argument, for the message.
        value: never part of the message.

    Raises:
        ConfigurationError: *value* is empty, not ASCII, or has a line break in it or whitespace
            around it. A token that was copied with its line end would let HTTP libraries quote it
            in their errors.
    """
    text = _check_text(name, value)
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ConfigurationError(
            f"{name} must be printable ASCII and must not start or end with whitespace"
        )
    return text


def header_value(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate that an HTTP header can carry *value*; see `check_header_value`.

    Ids that travel in a URL or a body have the same rule: one with a line end, as a file or a
    secret store may have it, would make a service refuse every conversion.
    """
    check_header_value(field.name, value)


optional_header_value: _Validator = attrs.validators.optional(header_value)
"""`header_value` or None."""


def secret(**options: Any) -> Any:
    """Return an attrs field for a token or key that a header carries and no `repr` shows.

    None is valid if *options* have ``default=None``.
    """
    validator: _Validator = header_value
    if options.get("default", attrs.NOTHING) is None:
        validator = optional_header_value
    return attrs.field(repr=_redacted, validator=validator, **options)


def _redacted(value: object) -> str:
    return "None" if value is None else "'…'"


def text(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate that *value* is text."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{field.name} must be text, got {shown(value)}")


def texts(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate that *value* is a tuple of texts."""
    if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
        raise ConfigurationError(
            f"{field.name} must be text or a list of texts, got {shown(value)}"
        )


def text_table(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate that *value* is a table of texts, such as ``{"a": "b"}``."""
    if not isinstance(value, Mapping) or not all(
        isinstance(item, str) for pair in value.items() for item in pair
    ):
        raise ConfigurationError(f"{field.name} must be a table of texts, got {shown(value)}")


def one_of(*choices: str) -> _Validator:
    """Return a validator for a fixed set of words."""

    def validate(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if value not in choices:
            words = ", ".join(map(repr, choices))
            raise ConfigurationError(f"{field.name} must be one of {words}, got {shown(value)}")

    return validate


# Numbers


def positive(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate that *value* is a number greater than 0; infinity is one."""
    if not _is_number(value) or not value > 0:  # type: ignore[operator]
        raise ConfigurationError(
            f"{field.name} must be a number greater than 0, got {shown(value)}"
        )


def non_negative(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate that *value* is a number of at least 0; infinity is one."""
    check_non_negative(field.name, value)


def check_non_negative(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless *value*, the argument *name*, is a number of at least 0."""
    if not _is_number(value) or not value >= 0:  # type: ignore[operator]
        raise ConfigurationError(f"{name} must be a number of at least 0, got {shown(value)}")


def positive_integer(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate that *value* is a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(
            f"{field.name} must be a whole number of at least 1, got {shown(value)}"
        )
    if value >= _INTEGER_LIMIT:
        raise ConfigurationError(f"{field.name} must be less than 2^63, got {shown(value)}")


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        float(value)
    except OverflowError:  # an integer of more than 308 digits
        return False
    return True


# Objects


def instance_of(cls: type) -> _Validator:
    """Return a validator for instances of *cls*."""

    def validate(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, cls):
            kind = type(value).__name__
            raise ConfigurationError(f"{field.name} must be a {cls.__name__}(…), got {kind}")

    return validate


def flag(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate that *value* is True or False."""
    if type(value) is not bool:
        raise ConfigurationError(f"{field.name} must be True or False, got {shown(value)}")


def optional_callable(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Validate that *value* is a function or None."""
    if value is not None and not callable(value):
        raise ConfigurationError(f"{field.name} must be a function")


# URLs


def base_url(value: str) -> str:
    """Return *value* without a trailing slash; a converter for attrs fields.

    Raises:
        ConfigurationError: *value* is neither an HTTPS URL nor a plain HTTP URL of this machine, or
            has other parts than host, port and path.
    """
    url = _split_url(value)
    secure = url.scheme == "https" or (url.scheme == "http" and is_loopback(url.hostname or ""))
    if not url.hostname or not secure:
        raise ConfigurationError(
            "base_url must be https://… (plain http:// only to localhost, for tests and the "
            "sandbox)"
        )
    if "@" in url.netloc or "?" in value or "#" in value:
        # They would show in every repr and log of the URL.
        raise ConfigurationError("base_url must not contain a user name, a query or a fragment")
    return value.rstrip("/")


def _split_url(value: object) -> SplitResult:
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise ConfigurationError("base_url must be text without whitespace")
    try:
        url = urlsplit(value)
        _ = url.port  # urlsplit validates the port only on access
    except ValueError:
        raise ConfigurationError("base_url is not a URL: check host and port") from None
    return url


def is_loopback(host: str) -> bool:
    """Return whether *host* is this machine: ``localhost``, ``127.…`` or ``::1``."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


# Environment variables
#
# A settings class lists its variables in one table, and `from_env` reads them by it:
#
#     VARIABLES: ClassVar = {"pixel_id": "META_PIXEL_ID", "access_token": "META_ACCESS_TOKEN"}
#
# A new variable is one more entry there; `python -m tools.reference` writes its page.


def read_variables(
    variables: Mapping[str, str], environ: Mapping[str, str] | None
) -> dict[str, Any]:
    """Return field → value for each variable that is set and not empty.

    Args:
        variables: field → name of its environment variable.
        environ: read instead of the process's environment.
    """
    source = os.environ if environ is None else environ
    return {field: value for field, name in variables.items() if (value := source.get(name))}


def require_variables(
    values: Mapping[str, str], variables: Mapping[str, str], *fields: str
) -> None:
    """Check that *values* has all of *fields*.

    Raises:
        ConfigurationError: the message names the variables to set.
    """
    missing = [variables[field] for field in fields if field not in values]
    if missing:
        raise ConfigurationError(f"set {' and '.join(missing)} in the environment")


def build_settings(
    cls: type[_T], values: Mapping[str, Any], variables: Mapping[str, str], **options: Any
) -> _T:
    """Return a *cls* with *values* from environment variables, and with *options*.

    Raises:
        ConfigurationError: a value is not valid. Where the message of *cls* begins with a field of
            *values*, the name of its variable is put in front:
            ``META_ACCESS_TOKEN: access_token must be printable ASCII …``.
    """
    try:
        return cls(**values, **options)
    except ConfigurationError as exc:
        field = str(exc).partition(" ")[0]
        if field not in values:
            raise
        raise ConfigurationError(f"{variables[field]}: {exc}") from None
