"""`Sandbox`: a running sandbox seen from outside, and how to point a client at it."""

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

_TIMEOUT = 30.0


def environment(settings: SandboxSettings, url: str) -> dict[str, str]:
    """Return the environment variables that point a client at the sandbox at *url*."""
    variables = {
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
    return variables if secret is None else {**variables, "META_APP_SECRET": secret}


def collect_url(settings: SandboxSettings, url: str) -> str:
    """Return the collect URL of the sandbox at *url*, which needs no API key."""
    property_id, _, slug = settings.anytrack.collect[0].partition("/")
    return f"{url}/{property_id}/collect/{slug}"


def exports(settings: SandboxSettings, url: str) -> list[str]:
    """Return the `export` lines that point a shell's clients at the sandbox at *url*.

    With a test event code, so that ``anytrack check`` can send a test event to Meta.
    """
    variables = environment(settings, url) | {"META_TEST_EVENT_CODE": "TEST_SANDBOX"}
    return [f"export {name}={quote(value)}" for name, value in variables.items()]


@attrs.frozen
class Sandbox:
    """A running sandbox.

    Its methods block for the few milliseconds of a local request. They raise `ValueError` if the
    sandbox rejects the command and `OSError` if it is not running.

    Attributes:
        url: its address, without a slash at the end.
        settings: its set-up.
    """

    url: str
    settings: SandboxSettings

    @property
    def collect_url(self) -> str:
        """AnyTrack's collect URL, for clients without an API key."""
        return collect_url(self.settings, self.url)

    def environment(self, *, collect: bool = False) -> dict[str, str]:
        """Return the environment variables that point a client at this sandbox.

        Args:
            collect: send to AnyTrack's collect URL, and leave out the API key.
        """
        variables = environment(self.settings, self.url)
        if not collect:
            return variables
        other_services = {
            name: value for name, value in variables.items() if "ANYTRACK_" not in name
        }
        return {"ANYTRACK_COLLECT_URL": self.collect_url, **other_services}

    def ledger(self, *, ids: bool = False) -> dict[str, Any]:
        """Return the requests and conversions that each service got; see `sandbox.ledger`.

        Args:
            ids: include each event id and how often it was accepted.
        """
        report: dict[str, Any] = self._call("GET", f"ledger?ids={int(ids)}")
        return report

    def payloads(
        self, service: ServiceName | None = None, *, masked: bool = True
    ) -> list[dict[str, Any]]:
        """Return the latest requests of *service* (of all, if None), each as a dict of `Payload`.

        Args:
            service: one of the services.
            masked: False shows the customer's data too.
        """
        only = f"&service={service}" if service else ""
        entries: list[dict[str, Any]] = self._call("GET", f"payloads?masked={int(masked)}{only}")
        return entries

    def reset(self) -> None:
        """Forget all data, and return to the settings."""
        self._call("POST", "reset")

    def down(
        self,
        service: ServiceName | None = None,
        *,
        down: bool = True,
        how: Literal["503", "reset"] = "503",
    ) -> None:
        """Take *service* (all of them, if None) down, or bring it back with ``down=False``."""
        self._call("POST", "down", {"service": service, "down": down, "how": how})

    def credentials(self, service: ServiceName, *accept: str) -> None:
        """Let *service* accept these tokens and no others."""
        self._call("POST", "credentials", {"service": service, "accept": accept})

    def faults(self, faults: Faults) -> None:
        """Inject *faults* from now on."""
        self._call("POST", "faults", attrs.asdict(faults))

    def latency(self, seconds: float, service: ServiceName | None = None) -> None:
        """Delay every reply of *service* (of all, if None) by *seconds*."""
        self._call("POST", "latency", {"service": service, "seconds": seconds})

    def _call(self, method: str, path: str, data: object = None) -> Any:
        address = urlsplit(self.url)
        # The standard library's client ignores proxies, which must not see local requests.
        connection = HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=_TIMEOUT)
        try:
            connection.request(method, f"/_sandbox/{path}", orjson.dumps(data or {}))
            response = connection.getresponse()
            reply = orjson.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(f"the sandbox rejected {path!r}: {reply.get('error')}")
        return reply
