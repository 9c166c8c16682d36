"""A running sandbox, from outside: where it is, what it saw, and how to change it."""

from __future__ import annotations

from http.client import HTTPConnection
from shlex import quote
from typing import Any, Literal
from urllib.parse import urlsplit

import attrs
import orjson

from anytrack_async.sandbox.faults import Faults
from anytrack_async.sandbox.settings import SandboxSettings

ServiceName = Literal["anytrack", "meta", "hubspot"]

_PATIENCE = 30.0


def environment(settings: SandboxSettings, url: str) -> dict[str, str]:
    """Return the environment variables that point a client at the sandbox at *url*."""
    values = {
        "ANYTRACK_API_KEY": settings.anytrack.keys[0],
        "ANYTRACK_ACCOUNT_ID": settings.anytrack.accounts[0],
        "ANYTRACK_BASE_URL": f"{url}/v1",
        "META_PIXEL_ID": settings.meta.pixels[0],
        "META_ACCESS_TOKEN": settings.meta.tokens[0],
        "META_BASE_URL": url,
        "HUBSPOT_ACCESS_TOKEN": settings.hubspot.tokens[0],
        "HUBSPOT_BASE_URL": url,
    }
    secret = settings.meta.app_secret
    return values if secret is None else {**values, "META_APP_SECRET": secret}


def exports(settings: SandboxSettings, url: str) -> list[str]:
    """Return the lines a shell needs to point a client at the sandbox at *url*."""
    return [f"export {name}={quote(value)}" for name, value in environment(settings, url).items()]


@attrs.frozen
class Sandbox:
    """A running sandbox.

    Its methods block for the few milliseconds a local call takes.

    Attributes:
        url: where it listens, without a slash at the end.
        settings: how it was set up.
    """

    url: str
    settings: SandboxSettings

    def environment(self) -> dict[str, str]:
        """Return the environment variables that point a client here."""
        return environment(self.settings, self.url)

    def ledger(self, *, ids: bool = False) -> dict[str, Any]:
        """Return what each service was sent, took and refused; see `sandbox.ledger`."""
        report: dict[str, Any] = self._call("GET", f"ledger?ids={int(ids)}")
        return report

    def reset(self) -> None:
        """Forget everything and go back to the settings."""
        self._call("POST", "reset")

    def down(
        self,
        service: ServiceName | None = None,
        *,
        down: bool = True,
        how: Literal["503", "reset"] = "503",
    ) -> None:
        """Take *service* (all of them, if not given) down, or bring it back."""
        self._call("POST", "down", {"service": service, "down": down, "how": how})

    def credentials(self, service: ServiceName, *accept: str) -> None:
        """Let *service* take the tokens *accept* and no others."""
        self._call("POST", "credentials", {"service": service, "accept": accept})

    def faults(self, faults: Faults) -> None:
        """Inject *faults* from now on."""
        self._call("POST", "faults", attrs.asdict(faults))

    def latency(self, seconds: float, service: ServiceName | None = None) -> None:
        """Make every answer of *service* (of all, if not given) *seconds* late."""
        self._call("POST", "latency", {"service": service, "seconds": seconds})

    def _call(self, method: str, path: str, data: object = None) -> Any:
        where = urlsplit(self.url)
        # No client library: a proxy in the environment must not see local calls.
        connection = HTTPConnection(where.hostname or "127.0.0.1", where.port, timeout=_PATIENCE)
        try:
            connection.request(method, f"/_sandbox/{path}", orjson.dumps(data or {}))
            response = connection.getresponse()
            answer = orjson.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(f"the sandbox refused {path}: {answer.get('error')}")
        return answer
