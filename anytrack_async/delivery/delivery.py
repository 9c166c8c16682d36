"""`Delivery`: the awaitable handle a caller gets for a conversion."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import anyio

from anytrack_async.errors import ConfigurationError, UndeliveredError
from anytrack_async.models.outcome import Outcome, Report, Status


class Delivery:
    """One accepted conversion on its way.

    ``await delivery`` gives the `Report` of all its destinations once each has it or never will;
    ``await delivery.at("meta")`` gives the `Outcome` of one. Both raise `UndeliveredError` if the
    client closes first. Dropping the handle drops nothing else.

    Attributes:
        event_id: which conversion.
    """

    __slots__ = ("__weakref__", "_changed", "_failure", "_outcomes", "_watchers", "event_id")

    def __init__(self, event_id: str, destinations: tuple[str, ...]) -> None:
        self.event_id = event_id
        self._outcomes: dict[str, Outcome | None] = dict.fromkeys(destinations)
        self._changed: anyio.Event | None = None
        self._failure: UndeliveredError | None = None
        self._watchers: tuple[Callable[[Delivery], None], ...] = ()

    def __repr__(self) -> str:
        return (
            f"<Delivery {self.event_id!r}: {', '.join(map(_brief, self.report.outcomes.values()))}>"
        )

    def __await__(self) -> Generator[Any, None, Report]:
        return self._all().__await__()

    async def _all(self) -> Report:
        while not self.done():
            await self._change()
        return self.report

    async def at(self, destination: str) -> Outcome:
        """Wait until *destination* has the conversion or never will.

        Raises:
            ConfigurationError: the conversion is not for that destination.
            UndeliveredError: the client closed first.
        """
        while not ((outcome := self._known(destination)) and outcome.final):
            await self._change()
        return outcome

    def _known(self, destination: str) -> Outcome | None:
        if destination not in self._outcomes:
            known = ", ".join(self._outcomes) or "none"
            raise ConfigurationError(
                f"conversion {self.event_id!r} is not for {destination!r}, only for: {known}"
            )
        return self._outcomes[destination]

    @property
    def report(self) -> Report:
        """How it stands now, without waiting."""
        return Report(
            event_id=self.event_id,
            outcomes={
                name: outcome or Outcome(status=Status.WAITING, destination=name, attempts=0)
                for name, outcome in self._outcomes.items()
            },
        )

    def done(self, destinations: tuple[str, ...] | None = None) -> bool:
        """Whether each of *destinations* (default: all) has the conversion or never will.

        One that it is not for never will.
        """
        known = self._outcomes
        names = known if destinations is None else known.keys() & destinations
        return all((outcome := known[name]) and outcome.final for name in names)

    # For the dispatcher

    @property
    def pending(self) -> list[str]:
        """The destinations that neither have it nor refused it, as far as is known."""
        return [
            name for name, outcome in self._outcomes.items() if outcome is None or not outcome.final
        ]

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for it now."""
        return bool(self._watchers) or self._changed is not None

    @property
    def failure(self) -> UndeliveredError | None:
        """Why nobody need wait any more."""
        return self._failure

    def watch(self, watcher: Callable[[Delivery], None]) -> None:
        """Call *watcher* after each change."""
        if watcher not in self._watchers:
            self._watchers += (watcher,)

    def unwatch(self, watcher: Callable[[Delivery], None]) -> None:
        """Call *watcher* no more."""
        self._watchers = tuple(one for one in self._watchers if one != watcher)

    def resolve(self, outcome: Outcome) -> None:
        """Take note of what happened at one destination; a final outcome stays."""
        known = self._outcomes.get(outcome.destination)
        if known is None or not known.final:
            self._outcomes[outcome.destination] = outcome
            self._tell()

    def note(self, event_id: str, outcome: Outcome) -> None:
        """Take note of what happened to the conversion *event_id*, which is this one."""
        self.resolve(outcome)

    def adopt(self, report: Report) -> None:
        """Take over what the outbox knows; a destination it is not for is none of ours."""
        strangers = [name for name in self._outcomes if name not in report.outcomes]
        for name in strangers:
            del self._outcomes[name]
        for name in tuple(self._outcomes):
            self.resolve(report.outcomes[name])
        if strangers:
            self._tell()

    def fail(self, failure: UndeliveredError) -> None:
        """Make everyone who waits, now or later, raise *failure*."""
        self._failure = failure
        self._tell()

    async def _change(self) -> None:
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # one for all who wait
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None
        for watcher in self._watchers:
            watcher(self)


def _brief(outcome: Outcome) -> str:
    return f"{outcome.destination} {outcome.status}"
