"""`ConsentRule`: which conversions a destination gets, by the consent of their visitors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self, TypeAlias, get_args

import attrs

from anytrack_async.errors import ConfigurationError
from anytrack_async.models.consent import UNKNOWN_CONSENT, Consent, ConsentState
from anytrack_async.settings.fields import build_settings, read_variables

ConsentAction: TypeAlias = Literal["send", "limited", "skip"]
"""``"send"`` sends everything, ``"limited"`` the data that need no consent, ``"skip"`` nothing."""

_ACTIONS: Sequence[str] = get_args(ConsentAction)


def _action(_: object, field: attrs.Attribute[str], value: object) -> None:
    if value not in _ACTIONS:
        raise ConfigurationError(f"{field.name} must be one of {', '.join(_ACTIONS)}")


@attrs.frozen(kw_only=True)
class ConsentRule:
    """Whether a destination gets a conversion whole, limited or not at all without full consent.

    `Consent.ad_user_data` decides whether a conversion is sent. Where it is granted, refusing
    ``ad_storage`` or ``ad_personalization`` limits the conversion, also with ``denied="skip"``.
    What "limited" means depends on the destination; see the settings of each.

    Attributes:
        denied: for purposes that the visitor has refused.
        unknown: for purposes that are unknown, and for conversions without `Conversion.consent`.

    Raises:
        ConfigurationError: a value is not a `ConsentAction`.
    """

    denied: ConsentAction = attrs.field(default="limited", validator=_action)
    unknown: ConsentAction = attrs.field(default="send", validator=_action)

    def action(self, state: ConsentState) -> ConsentAction:
        """Return what to do about a purpose in *state*."""
        if state is ConsentState.GRANTED:
            return "send"
        return self.denied if state is ConsentState.DENIED else self.unknown

    def skip_reason(self, consent: Consent | None) -> str | None:
        """Return why a conversion with *consent* is skipped; None if it is not."""
        state = (consent or UNKNOWN_CONSENT).ad_user_data
        return f"ad_user_data is {state}" if self.action(state) == "skip" else None

    @classmethod
    def from_env(
        cls, variables: Mapping[str, str], environ: Mapping[str, str] | None, default: Self
    ) -> Self:
        """Return the rule in environment variables.

        Args:
            variables: field → name of its environment variable.
            environ: variables to use instead of the process's environment.
            default: for variables that are not set.

        Raises:
            ConfigurationError: a value is not a `ConsentAction`; the message names the variable.
        """
        values = read_variables(variables, environ)
        actions = {name: value.strip().lower() for name, value in values.items()}
        return build_settings(cls, attrs.asdict(default) | actions, variables)
