"""`CollectSettings`: the collect URL of a custom integration in AnyTrack, which is its secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self
from urllib.parse import unquote, urlsplit

import attrs

from anytrack_async.destinations.anytrack.settings import (
    COLLECT_VARIABLE,
    CONSENT_VARIABLES,
    collect_url,
)
from anytrack_async.errors import ConfigurationError
from anytrack_async.settings.consent import ConsentRule
from anytrack_async.settings.fields import base_url, instance_of, secret
from anytrack_async.settings.http import HttpSettings

HOST: Final = "https://t1.anytrack.io"
"""AnyTrack's host for collect URLs."""

_EXPECTED = "https://t1.anytrack.io/<property>/collect/<slug>"


def _one_segment(_: object, field: attrs.Attribute[str], value: str) -> None:
    # AnyTrack documents no more about ids and slugs, and plug-ins use other ones than new accounts.
    if value in (".", "..") or any(char in value for char in "/?#\\ "):
        raise ConfigurationError(f"{field.name} must be one segment of the collect URL")


@attrs.frozen(kw_only=True)
class CollectSettings:
    """The collect endpoint of a custom integration: ``<base_url>/<property_id>/collect/<slug>``.

    The URL needs no key: anyone with the URL can record conversions. So neither `property_id` nor
    `slug` is shown in a `repr`, a log or an error.

    Attributes:
        property_id: the first segment of the URL, the property's or the account's id.
        slug: the last segment, the integration's name, such as ``custom-shop``.
        base_url: the part of the URL before the property: HTTPS, host and perhaps a path.
        consent: what AnyTrack gets by `Conversion.consent`, as in `AnyTrackSettings`. A limited
            conversion has no customer either, so only the click id identifies the visitor. It is
            skipped if it has no click id, or loses it because ``ad_storage`` is denied.
        http: timeouts and connections.

    Raises:
        ConfigurationError: a setting is not valid; the message names it.

    Source: AnyTrack, Custom Integration Params, readme.anytrack.io.
    """

    VARIABLES: ClassVar = {"url": COLLECT_VARIABLE}

    property_id: str = secret()
    slug: str = secret()
    base_url: str = attrs.field(default=HOST, converter=base_url)
    consent: ConsentRule = attrs.field(factory=ConsentRule, validator=instance_of(ConsentRule))
    http: HttpSettings = attrs.field(factory=HttpSettings, validator=instance_of(HttpSettings))

    def __attrs_post_init__(self) -> None:
        fields = attrs.fields(CollectSettings)
        _one_segment(self, fields.property_id, self.property_id)
        _one_segment(self, fields.slug, self.slug)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Return the settings of the collect URL that AnyTrack shows; *options* are fields.

        ``https://t1.anytrack.io/assets/abc123/collect/woocommerce``, the URL of a plug-in, is
        understood too.

        Raises:
            ConfigurationError: *url* is not such a URL; the message does not show it.
        """
        try:
            parts = urlsplit(url)
            front, property_id, word, slug = parts.path.rstrip("/").rsplit("/", 3)
        except (ValueError, AttributeError, TypeError):
            raise _not_a_collect_url() from None
        # A query holds placeholders such as `?click_id={sub1}`, which a body replaces.
        if word != "collect" or not property_id or not slug:
            raise _not_a_collect_url()
        return cls(
            property_id=unquote(property_id),
            slug=unquote(slug),
            base_url=f"{parts.scheme}://{parts.netloc}{front}",
            **options,
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self | None:
        """Return the settings of ``ANYTRACK_COLLECT_URL``; None if it is not set.

        Raises:
            ConfigurationError: the variable has no collect URL; the message does not show it.
        """
        url = collect_url(environ)
        if url is None:
            return None
        consent = ConsentRule.from_env(CONSENT_VARIABLES, environ, ConsentRule())
        try:
            return cls.from_url(url, consent=consent)
        except ConfigurationError as exc:
            raise ConfigurationError(f"{COLLECT_VARIABLE}: {exc}") from None


def _not_a_collect_url() -> ConfigurationError:
    return ConfigurationError(f"the collect URL must look like {_EXPECTED}; copy it from AnyTrack")
