"""`Consent`: the visitor's answers for the purposes that consent banners have in common.

The purposes have the names of Google's consent mode, which most banners can report.

Source: Google, consent mode, "Consent types".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Self, TypeAlias

import attrs

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.identifiers import id_from_number
from anytrack_async.models.mappings import is_flag
from anytrack_async.models.missing import BLANK, is_missing


class ConsentState(StrEnum):
    """A visitor's answer about one purpose."""

    GRANTED = "granted"
    DENIED = "denied"
    UNKNOWN = "unknown"


_GRANTED, _DENIED, _UNKNOWN = ConsentState.GRANTED, ConsentState.DENIED, ConsentState.UNKNOWN
_STATES: Final[Mapping[str, ConsentState]] = {
    **{str(state): state for state in ConsentState},
    **dict.fromkeys(("true", "yes", "g", "1"), _GRANTED),
    **dict.fromkeys(("false", "no", "d", "0"), _DENIED),
    **dict.fromkeys(("unspecified", ""), _UNKNOWN),
}

FORGOTTEN: Final = "the customer was forgotten"
"""The reason for skipping a conversion after its customer's data were erased."""

PURPOSES: Final = ("ad_storage", "ad_user_data", "ad_personalization")

_OTHER_PURPOSES: Final = frozenset(
    (
        *("analytics_storage", "functionality_storage"),
        *("personalization_storage", "security_storage"),
    )
)
"""Google's other consent types, which banners report too; they do not concern advertising."""

State: TypeAlias = ConsentState | str | bool | None
"""An answer as callers have it: ``True`` and 1 are granted, None is unknown."""


def _state(purpose: str, value: State) -> ConsentState:
    if isinstance(value, ConsentState):
        return value
    if is_flag(value):
        return _GRANTED if value else _DENIED
    if is_missing(value):
        return _UNKNOWN
    text = value if isinstance(value, str) else id_from_number(value)
    state = None if text is None else _STATES.get(text.strip(BLANK).lower())
    if state is None:
        raise InvalidConversionError(f"consent.{purpose}", "must be granted, denied or unknown")
    return state


# attrs takes the type of an argument from a named function only, so each purpose has its own.


def _ad_storage(value: State) -> ConsentState:
    return _state("ad_storage", value)


def _ad_user_data(value: State) -> ConsentState:
    return _state("ad_user_data", value)


def _ad_personalization(value: State) -> ConsentState:
    return _state("ad_personalization", value)


@attrs.frozen(kw_only=True)
class Consent:
    """The visitor's consent by purpose.

    Each purpose is ``"granted"``, ``"denied"`` or ``"unknown"``; ``True`` and ``False`` are the
    first two, None is the third.

    Attributes:
        ad_storage: cookies for advertising, and click ids from them.
        ad_user_data: sending the visitor's data to advertising services.
        ad_personalization: personalised advertising.
        forgotten: whether the customer's data were erased: no destination gets the conversion.

    Raises:
        InvalidConversionError: a purpose has another value.
    """

    ad_storage: ConsentState = attrs.field(default=_UNKNOWN, converter=_ad_storage)
    ad_user_data: ConsentState = attrs.field(default=_UNKNOWN, converter=_ad_user_data)
    ad_personalization: ConsentState = attrs.field(default=_UNKNOWN, converter=_ad_personalization)
    forgotten: bool = attrs.field(default=False, converter=bool)

    @classmethod
    def granted(cls) -> Self:
        """Return consent to every purpose."""
        return cls(ad_storage=_GRANTED, ad_user_data=_GRANTED, ad_personalization=_GRANTED)

    @classmethod
    def denied(cls) -> Self:
        """Return consent to nothing."""
        return cls(ad_storage=_DENIED, ad_user_data=_DENIED, ad_personalization=_DENIED)

    def as_dict(self) -> dict[str, str | bool]:
        """Return the purposes with a known state, and ``forgotten`` if it is true."""
        states = ((name, getattr(self, name)) for name in PURPOSES)
        by_purpose: dict[str, str | bool] = {
            name: state.value for name, state in states if state is not _UNKNOWN
        }
        return by_purpose | {"forgotten": True} if self.forgotten else by_purpose


UNKNOWN_CONSENT: Final = Consent()
"""The consent of a conversion that has none."""


def to_consent(value: Consent | Mapping[str, Any] | None) -> Consent | None:
    """Return the field ``consent`` of a conversion; a mapping has the purposes as keys.

    Google's other consent types are ignored, such as ``analytics_storage``.

    Raises:
        InvalidConversionError: it is something else, or names an unknown purpose.
    """
    if value is None or isinstance(value, Consent):
        return value
    argument: Any = value
    if isinstance(argument, Mapping):
        answers = {name: state for name, state in argument.items() if name not in _OTHER_PURPOSES}
        if not answers.keys() <= attrs.fields_dict(Consent).keys():
            purposes = ", ".join(PURPOSES)
            raise InvalidConversionError("consent", f"may have only {purposes}")
        return Consent(**answers)
    if is_missing(argument):  # a gap in a data frame
        return None
    raise InvalidConversionError("consent", f"must be a Consent, got {type(argument).__name__}")
