"""Graph API errors in Meta's words.

Source: Meta: Graph API, error handling; Conversions API, troubleshooting. Meta translates the texts
for users into the language of the token's owner: here into Danish, so that no client matches on
them.
"""

from __future__ import annotations

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
