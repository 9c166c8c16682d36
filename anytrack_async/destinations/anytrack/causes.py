"""Reads the cause of a refusal from its words: the conversion, the account, or the moment.

AnyTrack's REST API and its collect endpoint answer one conversion at a time, so a refusal looks as
if it were about that conversion. But words such as ``rate_limited`` or ``subscription_expired``
concern all conversions, so no conversion may become a dead letter because of them.

A refusal that names a field of the conversion rejects it, and so do the statuses 413 and 422, which
are about the content, unless the words name the account, as in "source disabled by its owner".
Other words, such as "request refused", may concern either: see `Unexplained`.
"""

from __future__ import annotations

import re
from typing import Final

from anytrack_async.destinations.sink import NeedsOperator, Throttled
from anytrack_async.models.outcome import Outcome
from anytrack_async.transport.errors import detail_of
from anytrack_async.transport.message import Response

_ABOUT_CONTENT = frozenset({413, 422})
DEFAULT_PAUSE: Final = 1.0  # seconds, after a 429 without `Retry-After`

_names_limit = re.compile(
    r"(?i)rate.?limit|too.?many.?(?:requests|calls)|throttl|quota|slow.?down"
    r"|limit.{0,20}(?:exceeded|reached)|used.{0,5}\ball\b"
    r"|(?:call|conversion|daily|event|monthly|plan|request)s?.?limit\b"
).search
_names_moment = re.compile(
    r"(?i)maintenance|temporar|\b(?:try|retry).{0,20}(?:again|later)|time(?:d|.?)?.?out|overload"
    r"|(?<!not )\b(?:please |and |, )retry\b|concurren|in.?progress|being processed"
    r"|(?:service|server|system|api|currently|is).{0,3}(?:unavailable|busy)"
    r"|internal.?(?:server.?)?error|server.?error"
).search
_names_access = re.compile(
    r"(?i)api.?key|token|permission|forbidden|credential|access.?denied"
    r"|(?:not.?|un)(?:authori[sz]ed|authenticated)|authentication|logged.?(?:in|out)\b"
    r"|payment.?required|billing|upgrade.{0,10}plan"
    r"|(?:account|integration|licen[cs]e|plan|property|subscription|trial).{0,30}"
    r"(?:active|blocked|cancel|closed|disabled|enabled|exist|expired|frozen|locked|paused|suspended"
    r"|unknown)|\bsource\b.{0,30}(?:blocked|disabled|frozen|locked|paused|suspended)"
    # The request itself: its address, headers, version and format are those of every conversion.
    r"|account.?id\b|(?:account|asset|integration|property|route|endpoint).{0,3}(?:is |was )?"
    r"(?:invalid|missing|not.?found|required)|(?:invalid|missing|no|no.?such|unknown|wrong).?"
    r"(?:account|asset.?id|integration|property.?id)\b|\bheaders?\b|content.?type"
    r"|api.{0,3}version|(?:https|ssl|tls).{0,10}required|invalid.?json|json.{0,10}pars"
    r"|(?:api|endpoint|version).{0,20}(?:deprecated|no.?longer|removed|retired)"
    r"|\bip\b.{0,12}(?:not.{0,4}allow|ban|block|denied|white)"
).search
_names_field = re.compile(
    r"(?i)amount|price|value|revenue|payout|commission|currenc|click|clid|\bref.?id|duplicate"
    r"|(?:click|conversion|event|order|transaction).?(?:date|id|name|number|time|type)|time.?stamp"
    r"|(?<!object )\btype\b|\btoo.?(?:big|large|long|old)\b|\bsub.?ids?\b|custom.?data"
    r"|\bip.?address|user.?agent|e.?mail\b|phone|customer|quantit|campaign|\bsource\b|properties|\bitems?\b"
    r"|page.?url|\bfields?\b|(?:bad|invalid|malformed|wrong).?(?:conversion|event)\b"
).search


class NotAnyTrack(NeedsOperator):
    """The answer to one conversion is not AnyTrack's; perhaps a firewall refuses its content."""


class Unexplained(NotAnyTrack):
    """AnyTrack refuses a conversion in words that name none of its fields.

    The conversion is rejected if it is refused again after AnyTrack accepted others.
    """


def throttled(response: Response, reason: str, code: str | None) -> Throttled:
    """Return the signal of a response that asks to wait, as long as it says, else a second."""
    wait = response.retry_after
    return Throttled(reason, code=code, after=DEFAULT_PAUSE if wait is None else wait)


def outcome_unless_rejected(response: Response, reason: str, code: str | None) -> Outcome | None:
    """Return None if a refusal in AnyTrack's own words concerns the conversion, else its outcome.

    Args:
        response: a 4xx, or a 2xx that names an error.
        reason: the message of the refusal.
        code: its code.

    Raises:
        Throttled: there were too many requests.
        NeedsOperator: the account, its plan or its credentials are the cause.
    """
    # {"message": "The given data was invalid.", "errors": {"account_id": ["is unknown"]}}
    words = f"{code or ''} {reason} {detail_of(response)}"
    if _names_limit(words):
        raise throttled(response, reason, code)
    if _names_moment(words):
        return Outcome.retry(reason, code=code, after=response.retry_after)
    if _names_access(words):
        raise NeedsOperator(reason, code=code)
    return None


def rejection(response: Response, reason: str, code: str, words: str = "") -> Outcome:
    """Return the outcome of a refusal that concerns the conversion, as far as its words tell.

    Args:
        response: the refusal.
        reason: its message.
        code: its code.
        words: others that it has.

    Raises:
        Unexplained: neither words nor status say that it does.
    """
    words = f"{code} {reason} {words} {detail_of(response)}"
    if response.status not in _ABOUT_CONTENT and not _names_field(words):
        raise Unexplained(reason, cause="configuration", code=code)
    return Outcome.rejected(reason, code=code)
