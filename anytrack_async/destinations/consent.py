"""Consent at a destination: which conversions are skipped, and which data are withheld.

A sink calls `deliver_with_consent` around its own delivery. In nearly all batches the rule concerns
no conversion; then it costs one comparison per conversion.

A conversion that is skipped has the outcome `Status.SKIPPED`: it is settled, and never sent to this
destination, even if the rule changes later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import attrs

from anytrack_async.destinations.sink import SinkSignal
from anytrack_async.models.clicks import CLICK_NAMES
from anytrack_async.models.consent import UNKNOWN_CONSENT
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.models.page_url import without_clicks
from anytrack_async.settings.consent import ConsentRule

Limit: TypeAlias = Callable[[Conversion, ConsentRule], Conversion]
"""Returns a copy of a conversion without the data that a destination must not get; the conversion
itself if the destination may get all of it."""

_T = TypeVar("_T", Outcome, Outcome | None)

LIMITED: Final = "limited by consent"
"""The kind of `Weakened` for conversions from which data were withheld."""


async def deliver_with_consent(
    batch: Sequence[Conversion],
    rule: ConsentRule,
    limit: Limit,
    deliver: Callable[[Sequence[Conversion]], Awaitable[Sequence[Outcome]]],
    report_limited: Callable[[int], None],
) -> Sequence[Outcome]:
    """Deliver *batch* as *rule* allows; return one outcome per conversion, in its order.

    Args:
        batch: the conversions.
        rule: the destination's rule.
        limit: withholds the data for which the visitor has not given consent.
        deliver: delivers the conversions that are not skipped; its signals are raised again.
        report_limited: called with the number of conversions that were sent limited, and will not
            be sent again.

    Raises:
        SinkSignal: of *deliver*, with outcomes in the order of *batch*.
    """
    if rule.unknown == "send" and not [item for item in batch if item.consent is not None]:
        return await deliver(batch)
    return await _deliver_allowed(batch, rule, limit, deliver, report_limited)


async def _deliver_allowed(
    batch: Sequence[Conversion],
    rule: ConsentRule,
    limit: Limit,
    deliver: Callable[[Sequence[Conversion]], Awaitable[Sequence[Outcome]]],
    report_limited: Callable[[int], None],
) -> Sequence[Outcome]:
    """Deliver a *batch* with a conversion that *rule* may skip or limit."""
    skipped = _skipped(batch, rule)
    allowed = [item for index, item in enumerate(batch) if index not in skipped]
    sent = [limit(conversion, rule) for conversion in allowed]
    limited = [copy is not conversion for copy, conversion in zip(sent, allowed, strict=True)]
    try:
        outcomes = await deliver(sent) if sent else ()
    except SinkSignal as signal:
        # The signal's outcomes are those of the sent conversions only.
        _report(signal.outcomes, limited, report_limited)
        merged = _merged(skipped, signal.outcomes or [None] * len(sent))
        signal.outcomes = merged if any(merged) else ()
        raise
    _report(outcomes, limited, report_limited)
    return _merged(skipped, outcomes)


def _skipped(batch: Sequence[Conversion], rule: ConsentRule) -> dict[int, Outcome]:
    """Return index → outcome of each conversion of *batch* that *rule* does not let through."""
    skipped = {}
    for index, conversion in enumerate(batch):
        if (reason := rule.skip_reason(conversion.consent)) is not None:
            skipped[index] = Outcome.skipped(f"no consent: {reason}")
    return skipped


def _report(
    outcomes: Sequence[Outcome | None], limited: Sequence[bool], report: Callable[[int], None]
) -> None:
    pairs = zip(outcomes, limited, strict=False)
    count = sum(
        is_limited and outcome is not None and outcome.status is not Status.RETRY
        for outcome, is_limited in pairs
    )
    if count:
        report(count)


def _merged(skipped: Mapping[int, Outcome], outcomes: Sequence[_T]) -> list[_T | Outcome]:
    """Return the outcomes of a whole batch: with 1 skipped, ``[a, b]`` becomes ``[a, s, b]``."""
    merged: list[_T | Outcome] = list(outcomes)
    for index in sorted(skipped):
        merged.insert(index, skipped[index])
    return merged


# Withheld data


def without_identity(conversion: Conversion) -> Conversion:
    """Return *conversion* without customer, address and browser."""
    fields = ("customer", "ip_address", "user_agent")
    return _changed(conversion, {name: None for name in fields if getattr(conversion, name)})


def withhold_clicks(conversion: Conversion, rule: ConsentRule) -> Conversion:
    """Return *conversion* without ids from cookies and links if *rule* withholds ``ad_storage``.

    These are the click ids, Meta's cookies, and the click ids in the URL of the page.
    """
    state = (conversion.consent or UNKNOWN_CONSENT).ad_storage
    if rule.action(state) == "send":
        return conversion
    changes = _changed_extras(conversion)
    if conversion.click_id is not None:
        changes["click_id"] = None
    if conversion.clicks:
        changes["clicks"] = None
    if (page := conversion.page_url) is not None and without_clicks(page) != page:
        changes["page_url"] = without_clicks(page)
    if (customer := conversion.customer) and _has_click_ids(customer):
        changes["customer"] = attrs.evolve(customer, fbc=None, fbp=None, fbclid=None)
    return _changed(conversion, changes)


def _has_click_ids(customer: Customer) -> bool:
    return bool(customer.fbc or customer.fbp or customer.fbclid)


def _changed_extras(conversion: Conversion) -> dict[str, Any]:
    """Return the new values of `meta` and `custom_data`, if these have click ids to withhold."""
    changes: dict[str, Any] = {}
    if conversion.meta is not None and "referrer_url" in conversion.meta:
        changes["meta"] = _without(conversion.meta, ("referrer_url",))
    if not conversion.custom_data.keys().isdisjoint(CLICK_NAMES):
        changes["custom_data"] = _without(conversion.custom_data, CLICK_NAMES)
    return changes


def _without(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _changed(conversion: Conversion, changes: Mapping[str, Any]) -> Conversion:
    return attrs.evolve(conversion, **changes) if changes else conversion


def preview_reason(conversion: Conversion, rule: ConsentRule) -> str:
    """Return why *conversion* would be skipped; empty if it would not."""
    reason = rule.skip_reason(conversion.consent)
    return f"skipped, no consent: {reason}" if reason else ""
