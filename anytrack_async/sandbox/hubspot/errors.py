"""HubSpot's errors: the body of a refusal, and what is wrong with one input of a batch.

Source: HubSpot: error handling.
"""

from __future__ import annotations

from typing import Any

import attrs
import orjson

SCOPES_PAGE = "https://developers.hubspot.com/scopes"


@attrs.frozen(kw_only=True)
class Problem:
    """What is wrong with one property of one input.

    Attributes:
        code: HubSpot's code.
        name: the property's name.
        category: of the error the problem becomes.
    """

    code: str
    message: str
    name: str
    category: str = "VALIDATION_ERROR"

    def detail(self) -> dict[str, Any]:
        """Return the problem as an entry of an error's `errors`."""
        return {
            "message": self.message,
            "code": self.code,
            "context": {"propertyName": [self.name]},
        }

    def value(self) -> dict[str, Any]:
        """Return the problem as an entry of the list inside an error's message."""
        return {
            "isValid": False,
            "message": self.message,
            "error": self.code,
            "name": self.name,
            "localizedErrorMessage": self.message,
        }


@attrs.frozen(kw_only=True, eq=False)
class HubSpotError(Exception):
    """A refusal.

    Attributes:
        reason: the key it is counted under; the category if not given.
        details: entries of `errors`.
        extra: further fields of the body.
        headers: of the answer.
    """

    status: int
    category: str
    message: str
    reason: str = ""
    details: tuple[dict[str, Any], ...] = ()
    context: dict[str, list[str]] = attrs.field(factory=dict)
    extra: dict[str, Any] = attrs.field(factory=dict)
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def body(self, correlation_id: str) -> dict[str, Any]:
        """Return the body of a refusal."""
        body: dict[str, Any] = {
            "status": "error",
            "message": self.message,
            "correlationId": correlation_id,
        }
        if self.details:
            body["errors"] = list(self.details)
        if self.context:
            body["context"] = self.context
        return {**body, **self.extra, "category": self.category}

    def item(self, **context: list[str]) -> dict[str, Any]:
        """Return the error as an entry of a 207's `errors`."""
        return {
            "status": "error",
            "category": self.category,
            "message": self.message,
            "errors": list(self.details),
            "context": {**self.context, **context},
            "links": {},
            **self.extra,
        }


def invalid(message: str, *, reason: str = "", **context: list[str]) -> HubSpotError:
    """Return the 400 of a request that makes no sense."""
    return HubSpotError(
        status=400, category="VALIDATION_ERROR", message=message, reason=reason, context=context
    )


def not_found(what: str, **context: list[str]) -> HubSpotError:
    """Return the 404 of something that does not exist."""
    return HubSpotError(status=404, category="OBJECT_NOT_FOUND", message=what, context=context)


def refusal(problems: list[Problem], object_type: str) -> HubSpotError:
    """Return the error *problems* of one input make."""
    first = problems[0]
    missing = [p.name for p in problems if p.code == "MISSING_REQUIRED_PROPERTY"]
    if missing:
        message = f"Error creating {object_type}. Some required properties were not set."
        context = {"properties": missing}
    else:
        values = orjson.dumps([p.value() for p in problems]).decode()
        message, context = f"Property values were not valid: {values}", {}
    if first.category == "CONFLICT":
        message = first.message
    return HubSpotError(
        status=409 if first.category == "CONFLICT" else 400,
        category=first.category,
        message=message,
        reason=first.code,
        details=tuple(p.detail() for p in problems),
        context=context,
    )


def unauthorized(category: str) -> HubSpotError:
    """Return the 401 of a token that is missing, unknown or out of date."""
    messages = {
        "INVALID_AUTHENTICATION": "Authentication credentials not found. This API supports OAuth "
        "2.0 authentication and you can find more details at "
        "https://developers.hubspot.com/docs/methods/auth/oauth-overview",
        "EXPIRED_AUTHENTICATION": "The OAuth token used to make this call expired 2 second(s) ago.",
    }
    return HubSpotError(status=401, category=category, message=messages[category])


def missing_scope(scope: str) -> HubSpotError:
    """Return the 403 of a token without *scope*."""
    detail = {
        "message": "One or more of the following scopes are required.",
        "context": {"requiredGranularScopes": [scope]},
    }
    return HubSpotError(
        status=403,
        category="MISSING_SCOPES",
        message="This app hasn't been granted all required scopes to make this call. "
        f"Read more about required scopes here: {SCOPES_PAGE}.",
        details=(detail,),
        extra={"links": {"scopes": SCOPES_PAGE}},
    )


def too_many(policy: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> HubSpotError:
    """Return the 429 of *policy*."""
    period = {"DAILY": "daily", "SECONDLY": "secondly"}.get(policy, "ten_secondly_rolling")
    return HubSpotError(
        status=429,
        category="RATE_LIMITS",
        message=f"You have reached your {period} limit.",
        reason=policy,
        extra={"errorType": "RATE_LIMIT", "policyName": policy},
        headers=headers,
    )
