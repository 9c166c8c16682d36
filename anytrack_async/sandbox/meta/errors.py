"""Graph API errors in Meta's words, and the validation of events that finds them.

Source: Meta: Graph API, error handling; Conversions API, troubleshooting, server event, customer
information and custom data parameters. Meta translates the texts for users into the language of the
token's owner: here into Danish, so that no client matches on them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import attrs

INVALID = 100
_FIRST_EVENT_SUBCODE = 2_804_000


@attrs.frozen(kw_only=True, eq=False)
class GraphError(Exception):
    """One error of the Graph API.

    Attributes:
        status: the HTTP status; throttling and bad events are both 400.
        code: the field to decide on.
        subcode: distinguishes errors with the same *code*.
        title: for the user, translated.
        text: for the user, translated.
    """

    message: str
    code: int
    status: int = 400
    type: str = "OAuthException"
    subcode: int | None = None
    transient: bool | None = None
    title: str | None = None
    text: str | None = None

    @property
    def reason(self) -> str:
        """The ledger's key: the code, with the subcode where the code alone says nothing."""
        # 190/463 counts as "190", 100/33 as "100/33" and 100/2804003 as "2804003": code 100 stands
        # for everything from a wrong path to an event that is too old.
        if self.code != INVALID or self.subcode is None:
            return str(self.code)
        if self.subcode > _FIRST_EVENT_SUBCODE:
            return str(self.subcode)
        return f"{self.code}/{self.subcode}"

    def body(self, trace: str) -> dict[str, Any]:
        """Return the error's JSON."""
        error = {
            "message": self.message,
            "type": self.type,
            "code": self.code,
            "error_subcode": self.subcode,
            "is_transient": self.transient,
            "error_user_title": self.title,
            "error_user_msg": self.text,
            "fbtrace_id": trace,
        }
        return {"error": {name: value for name, value in error.items() if value is not None}}


def bad_token() -> GraphError:
    """Return the error of an unknown or expired token."""
    message = "Error validating access token: Session has expired."
    return GraphError(message=message, code=190, subcode=463, status=401)


def no_token() -> GraphError:
    """Return the error of a request without a token."""
    message = "An access token is required to request this resource."
    return GraphError(message=message, code=104, status=400)


def bad_proof(*, is_missing: bool) -> GraphError:
    """Return the error of a wrong or missing `appsecret_proof`."""
    wrong = "Invalid appsecret_proof provided in the API argument"
    missing = "API calls from the server require an appsecret_proof argument"
    message = missing if is_missing else wrong
    return GraphError(message=message, code=100, type="GraphMethodException")


def unknown_object(method: str, id_: str) -> GraphError:
    """Return the error of an object that does not exist, or is forbidden to this token."""
    return GraphError(
        message=f"Unsupported {method.lower()} request. Object with ID '{id_}' does not exist, "
        "cannot be loaded due to missing permissions, or does not support this operation. "
        "Please read the Graph API documentation at "
        "https://developers.facebook.com/docs/graph-api",
        code=100,
        subcode=33,
        type="GraphMethodException",
    )


def bad_parameter(message: str) -> GraphError:
    """Return the error of an invalid parameter."""
    return GraphError(message=f"(#100) {message}", code=100)


def bad_event(subcode: int, title: str, text: str) -> GraphError:
    """Return the error of an invalid event; like Meta's, it does not name the event."""
    return GraphError(
        message="Invalid parameter",
        code=100,
        subcode=subcode,
        transient=False,
        title=title,
        text=text,
    )


def failure() -> GraphError:
    """Return the error of an internal failure."""
    message = "An unexpected error has occurred. Please retry your request later."
    return GraphError(message=message, code=2, status=500, transient=True)


def throttled(code: int) -> GraphError:
    """Return the error of too many calls: by the app (code 4) or the ad account (80004)."""
    messages = {
        4: "Application request limit reached",
        80004: "There have been too many calls to this ad-account. Wait a bit and try again.",
    }
    return GraphError(message=f"(#{code}) {messages[code]}", code=code, transient=True)


# Validation of an event

DAY = 86_400
MAX_AGE = 7 * DAY
MAX_AGE_STORE = 62 * DAY
ACTION_SOURCES = frozenset(
    (
        "email",
        "website",
        "app",
        "phone_call",
        "chat",
        "physical_store",
        "system_generated",
        "business_messaging",
        "other",
    )
)
HASHED = frozenset(("em", "ph", "ge", "db", "ln", "fn", "ct", "st", "zp", "country"))
PLAIN = frozenset(
    (
        "external_id",
        "client_ip_address",
        "client_user_agent",
        "fbc",
        "fbp",
        "subscription_id",
        "fb_login_id",
        "lead_id",
        "anon_id",
        "page_id",
        "page_scoped_user_id",
        "ctwa_clid",
        "ig_account_id",
        "ig_sid",
        "madid",
    )
)
# Sets of keys that fit too many people: Meta rejects an event with no key outside one of them.
TOO_BROAD = (
    frozenset(("ct", "country", "st", "zp", "ge", "client_user_agent")),
    frozenset(("db", "client_user_agent")),
    frozenset(("fn", "ge")),
    frozenset(("ln", "ge")),
)

# The 64 hex digits of SHA-256, or the 32 of MD5.
_HASH = re.compile(r"[0-9a-fA-F]{64}|[0-9a-fA-F]{32}")
_CURRENCY = re.compile(r"[A-Za-z]{3}")
# No page documents events from the future. A clock that is a few minutes fast must do no harm, and
# milliseconds sent as seconds must not pass unnoticed.
_MAX_AHEAD = 600

Event = dict[str, Any]


def find_error(event: object, now: float) -> GraphError | None:
    """Return the error with which Meta rejects *event*, if it does; *now* in seconds since 1970."""
    if not isinstance(event, dict):
        return bad_parameter("param data[0] must be a server event object.")
    for rule in _RULES:
        error = rule(event, now)
        if error is not None:
            return error
    return None


def _check_required(event: Event, _now: float) -> GraphError | None:
    for name in ("event_name", "event_time", "user_data", "action_source"):
        if event.get(name) in (None, ""):
            return bad_parameter(f"The parameter {name} is required")
    if not isinstance(event["user_data"], dict):
        return bad_parameter("param user_data must be an object.")
    if not isinstance(event["event_name"], str):
        return bad_parameter("param event_name must be a string.")
    # A list, because a JSON array or object is unhashable.
    if event["action_source"] not in list(ACTION_SOURCES):
        return bad_parameter(f"action_source must be one of {sorted(ACTION_SOURCES)}")
    return None


def _check_time(event: Event, now: float) -> GraphError | None:
    time = _number(event["event_time"])
    if time is None or time != int(time):
        return bad_parameter("param event_time must be an integer unix timestamp in seconds.")
    max_age = MAX_AGE_STORE if event["action_source"] == "physical_store" else MAX_AGE
    if now - time > max_age:
        return bad_event(
            2804003,
            "Hændelsestidspunktet er for gammelt",
            "Hændelsen er ældre end den tilladte grænse. Send den senest 7 dage efter.",
        )
    if time - now > _MAX_AHEAD:
        return bad_event(
            2804004, "Hændelsestidspunktet ligger i fremtiden", "Kontrollér event_time (sekunder)."
        )
    return None


def _check_hashes(event: Event, _now: float) -> GraphError | None:
    for name, values in event["user_data"].items():
        if name in HASHED and not all(_is_hash(value) for value in _values(values)):
            return bad_event(
                2804016,
                "Kundeoplysninger er ikke hashet",
                f"Parameteren {name} skal være hashet med SHA-256.",
            )
    return None


def _check_identity(event: Event, _now: float) -> GraphError | None:
    keys = {
        name
        for name, values in event["user_data"].items()
        if name in HASHED | PLAIN and _values(values)
    }
    # An event without any key is within every one of these sets.
    if any(keys <= broad for broad in TOO_BROAD):
        return bad_event(
            2804050,
            "Du har ikke tilføjet tilstrækkelige data om kundeoplysningsparametre",
            "Denne hændelse har ingen kundeoplysningsparametre, eller den har en kombination af "
            "kundeoplysningsparametre, der er så bred, at det er usandsynligt, at det vil være "
            "effektivt til matchning.",
        )
    return None


def _check_purchase(event: Event, _now: float) -> GraphError | None:
    custom = event.get("custom_data")
    custom = {} if custom is None else custom
    if not isinstance(custom, dict):
        return bad_parameter("param custom_data must be an object.")
    value = custom.get("value")
    if value is not None and _number(value) is None:
        return bad_parameter("param custom_data[value] must be a number.")
    if event["event_name"] != "Purchase":
        return None
    if value is None:
        return bad_event(2804009, "Manglende værdi", "Købshændelser skal have parameteren value.")
    if not _CURRENCY.fullmatch(str(custom.get("currency") or "")):
        return bad_event(2804010, "Manglende valuta", "Købshændelser skal have en gyldig currency.")
    return None


def _check_app(event: Event, _now: float) -> GraphError | None:
    app_data = event.get("app_data")
    app_data = app_data if isinstance(app_data, dict) else {}
    flags = ("advertiser_tracking_enabled", "application_tracking_enabled")
    for name in flags:
        if app_data.get(name) not in (None, 0, 1):
            return bad_parameter(f"param app_data[{name}] must be 0 or 1.")
    if event["action_source"] == "app":
        for name in (*flags, "extinfo"):
            if app_data.get(name) is None:
                return bad_parameter(f"The parameter app_data[{name}] is required for app events")
    return None


def _check_options(event: Event, _now: float) -> GraphError | None:
    options = event.get("data_processing_options")
    if options is not None and options not in ([], ["LDU"]):
        return bad_parameter("param data_processing_options must be [] or ['LDU'].")
    event_id = event.get("event_id")
    if event_id is not None and not isinstance(event_id, str | int):
        return bad_parameter("param event_id must be a string.")
    return None


_RULES: tuple[Callable[[Event, float], GraphError | None], ...] = (
    _check_required,
    _check_time,
    _check_hashes,
    _check_app,
    _check_identity,
    _check_purchase,
    _check_options,
)


def _values(field: object) -> list[Any]:
    values = field if isinstance(field, list) else [field]
    return [value for value in values if value not in (None, "")]


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
