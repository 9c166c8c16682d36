"""`anytrack meta`: see whether Meta takes events."""

from __future__ import annotations

from typing import Annotated

import anyio
import attrs
import typer

from anytrack_async.cli.guard import FAILED
from anytrack_async.cli.output import complain, screen
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.destinations.meta.sink import MetaSink
from anytrack_async.destinations.sink import SinkSignal
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.outcome import Outcome, Status

meta = typer.Typer(
    name="meta", no_args_is_help=True, help="See whether Meta's Conversions API takes your events."
)


@meta.callback()
def _group() -> None:
    """Keep `check` a command of its own, although it is the only one."""


@meta.command("check")
def check(
    code: Annotated[
        str | None,
        typer.Option(
            envvar="META_TEST_EVENT_CODE",
            help="The test code of Events Manager, tab Test events, e.g. TEST12345.",
        ),
    ] = None,
) -> None:
    """Send one lead of nobody with a test code: pixel, token and permissions are right if it shows.

    Needs META_PIXEL_ID and META_ACCESS_TOKEN.
    """
    settings = MetaSettings.from_env()
    if settings is None:
        raise ConfigurationError("set META_PIXEL_ID and META_ACCESS_TOKEN in the environment")
    if not code:
        raise ConfigurationError(
            "give --code or set META_TEST_EVENT_CODE: without one, the event would count as real"
        )
    _show(anyio.run(_send, attrs.evolve(settings, test_event_code=code)), settings.pixel_id, code)


def _show(outcome: Outcome, pixel_id: str, code: str) -> None:
    if outcome.status is not Status.DELIVERED:
        complain(f"meta: the test event was not taken: {outcome.error}")
        raise typer.Exit(FAILED)
    screen().print(f"meta: pixel {pixel_id} took the test event; see it under {code}")


async def _send(settings: MetaSettings) -> Outcome:
    sink = MetaSink(settings)
    try:
        (outcome,) = await sink.deliver((_nobody(),))
    except SinkSignal as signal:
        return Outcome.retry(signal.reason, code=signal.code)
    finally:
        await sink.aclose()
    return outcome


def _nobody() -> Conversion:
    return Conversion.lead(
        customer=Customer(email="nobody@example.com", external_id="anytrack-check"),
        user_agent="anytrack meta check",
        page_url="https://example.com/",
    )
