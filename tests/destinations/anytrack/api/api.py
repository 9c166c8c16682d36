"""A small AnyTrack to ask: answers by path and keeps the requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from anytrack_async.destinations.anytrack.settings import AnyTrackSettings, anytrack_session
from anytrack_async.settings.http import HttpSettings, Retry
from anytrack_async.transport.session import Session

Answer = Callable[[httpx.Request], Any]

BASE = "https://api.test/v1"


class Api(httpx.MockTransport):
    """Answers with the JSON that *routes* has for the path, or that it returns."""

    def __init__(self, **routes: Any) -> None:
        super().__init__(self._handle)
        self.routes = {path.replace("__", "/"): answer for path, answer in routes.items()}
        self.requests: list[httpx.Request] = []

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        path = request.url.raw_path.decode().split("?")[0].removeprefix("/v1/")
        answer = self.routes.get(path)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, httpx.Response):
            return answer
        if answer is None:
            return httpx.Response(404, json={"message": "no such record"})
        return httpx.Response(200, json=answer)

    @property
    def params(self) -> dict[str, str]:
        """The query of the last request."""
        return dict(self.requests[-1].url.params)

    @property
    def session(self) -> Session:
        http = HttpSettings(retry=Retry(attempts=2, base=0.0001))
        settings = AnyTrackSettings(api_key="key", account_id="acc", base_url=BASE, http=http)
        return anytrack_session(settings, transport=self)


def record(id_: str | None, at: str = "2026-01-01T12:00:00", **more: Any) -> dict[str, Any]:
    """A conversion as AnyTrack answers it."""
    return {
        "id": id_,
        "click_id": "clk",
        "conversion_type": "sale",
        "revenue": "9.90",
        "currency": "EUR",
        "timestamp": at,
        **more,
    }
