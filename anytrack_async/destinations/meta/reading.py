"""Reading a customer's values with the ``[normalise]`` extra, where the settings ask for it.

Source: Meta: Conversions API, customer information parameters (phone numbers with country code,
countries as ISO 3166-1 alpha-2).
"""

from __future__ import annotations

import re

import attrs

from anytrack_async.destinations.meta.regions import country_code, phone_with_region
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.customer import Customer

_DIGEST = re.compile(r"[0-9A-Fa-f]{32}(?:[0-9A-Fa-f]{32})?")


def check_reading(settings: MetaSettings) -> None:
    """Raise `ConfigurationError` if *settings* ask for a library that is not installed."""
    try:
        if settings.phone_region is not None:
            phone_with_region("+16505551212", settings.phone_region)
        if settings.country_names:
            country_code("France")
    except ModuleNotFoundError as exc:
        raise ConfigurationError(str(exc)) from exc


def read(customer: Customer, settings: MetaSettings) -> Customer:
    """Return *customer* with phone numbers and countries as the libraries read them.

    What they cannot read is left to the plain rules, and so is what is hashed already.
    """
    phones, countries = customer.phone, customer.country
    if (region := settings.phone_region) is not None:
        phones = tuple(
            one if _DIGEST.fullmatch(one.strip()) else phone_with_region(one, region) or one
            for one in phones
        )
    if settings.country_names:
        countries = tuple(country_code(one) or one for one in countries)
    return attrs.evolve(customer, phone=phones, country=countries)
