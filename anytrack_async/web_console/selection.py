"""`LetterSelection`: the dead letters that a page shows or an action is about, from a form."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import attrs

from anytrack_async.client.dead_letters import DeadLetterSelection, to_filter
from anytrack_async.errors import InvalidArgumentError
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.dead_letters import (
    DeadLetter,
    DeadLetterPage,
    SearchesDeadLetters,
)
from anytrack_async.web_console.security import Refused

AGES = {
    "1h": ("an hour", 3_600),
    "1d": ("a day", 86_400),
    "7d": ("7 days", 604_800),
    "30d": ("30 days", 2_592_000),
}
"""Value in a form → the age in words and in seconds."""

PAGE_SIZE = 50

_READ_SIZE = 500

FIRST_PART, NEXT_PART = 1_000, 20_000
"""Number of dead letters searched for matches, in the first request and in each further one: the
first answer takes some milliseconds, and five more requests search 100,000 dead letters."""

_MOST_COUNTED = 10_000

_ALL = 10**9
"""Dead letters of one code are counted to the last: codes have an index."""


@attrs.frozen(kw_only=True)
class LetterSelection:
    """A filter, and perhaps single dead letters.

    Attributes:
        destination: only of this destination; empty for all.
        code: only with this code.
        text: only if the reason contains this text.
        older: a key of `AGES`: only those that are dead for longer.
        newer: a key of `AGES`: only those that are dead for less long.
        letters: event ids by destination, if single dead letters are selected.
    """

    destination: str = ""
    code: str = ""
    text: str = ""
    older: str = ""
    newer: str = ""
    letters: Mapping[str, Sequence[str]] | None = None

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> LetterSelection:
        """Return the selection in the fields of a form or the parameters of an address."""
        names = ("destination", "code", "text", "older", "newer")
        values = {name: fields.get(name, "").strip() for name in names}
        for name in ("older", "newer"):
            if values[name] and values[name] not in AGES:
                raise InvalidArgumentError(name, f"must be one of {', '.join(AGES)}")
        arguments: dict[str, Any] = values
        return cls(**arguments)

    def with_letters(self, keys: Iterable[str]) -> LetterSelection:
        """Return the selection of single dead letters, each ``destination event-id``.

        Raises:
            Refused: there are none.
        """
        letters: dict[str, list[str]] = {}
        for key in keys:
            destination, _, event_id = key.partition(" ")
            letters.setdefault(destination, []).append(event_id)
        if not letters:
            raise Refused(400, "Nothing was changed: no dead letter is selected.")
        return attrs.evolve(self, letters=letters)

    @property
    def is_everything(self) -> bool:
        """Whether the selection has no condition, so that it selects all dead letters."""
        return self == LetterSelection()

    @property
    def has_only_code(self) -> bool:
        """Whether a code, and perhaps a destination, is the only condition."""
        return not (self.text or self.older or self.newer)

    @property
    def fields(self) -> Mapping[str, str]:
        """The filter as fields of a form."""
        values = attrs.asdict(self, filter=lambda field, value: field.name != "letters")
        return {name: value for name, value in values.items() if value}

    @property
    def keys(self) -> Sequence[str]:
        """The single dead letters as values of a form."""
        letters = self.letters or {}
        return [f"{name} {event_id}" for name, ids in letters.items() for event_id in ids]

    def address(self, page: str = "dead-letters", **more: Any) -> str:
        """Return the address of *page* with this filter."""
        query = urlencode({**self.fields, **more})
        return f"{page}?{query}" if query else page

    @property
    def condition(self) -> DeadLetterSelection:
        """The filter for a client or an outbox, without destination."""
        condition = DeadLetterSelection()
        if self.code:
            condition["code"] = self.code
        if self.text:
            condition["text"] = self.text
        if self.older:
            condition["older_than"] = timedelta(seconds=AGES[self.older][1])
        if self.newer:
            condition["newer_than"] = timedelta(seconds=AGES[self.newer][1])
        return condition

    @property
    def parts(self) -> Sequence[tuple[str | None, Sequence[str] | None]]:
        """Destinations with their event ids, for the calls that select; None for all."""
        if self.letters is not None:
            return list(self.letters.items())
        return [(self.destination or None, None)]

    async def read(
        self, outbox: Outbox, *, after: int = 0, limit: int = _READ_SIZE
    ) -> DeadLetterPage:
        """Return up to about *limit* dead letters that fulfil the filter, in log order.

        An outbox that can search in parts looks at one part only.
        """
        where, letters = to_filter(self.condition), list[DeadLetter]()
        if self.condition and isinstance(outbox, SearchesDeadLetters):
            within = NEXT_PART if after else FIRST_PART
            return await outbox.search_dead_letters(
                self.destination or None, where, after=after, limit=limit, within=within
            )
        while len(letters) < limit:
            page = await outbox.dead_letters(
                self.destination or None, where=where, after=after, limit=limit - len(letters)
            )
            if not page:
                break
            after = page[-1].seq
            letters += page
        return DeadLetterPage(letters=letters, after=after if len(letters) >= limit else None)

    async def stream(self, outbox: Outbox) -> AsyncGenerator[DeadLetter, None]:
        """Yield every selected dead letter, in log order."""
        where = to_filter(self.condition)
        for destination, event_ids in self.parts:
            after = 0
            while page := await outbox.dead_letters(
                destination, event_ids=event_ids, where=where, after=after, limit=_READ_SIZE
            ):
                after = page[-1].seq
                for letter in page:
                    yield letter

    async def count(self, outbox: Outbox) -> tuple[int, bool]:
        """Return how many dead letters are selected, and whether there may be more."""
        if self.letters is not None:
            return len(self.keys), False
        if not self.condition:
            depths = await outbox.depths()
            names = [self.destination] if self.destination else list(depths)
            return sum(depths[name].dead for name in names if name in depths), False
        if isinstance(outbox, SearchesDeadLetters):
            within = _ALL if self.has_only_code else NEXT_PART
            step = await outbox.count_dead_letters(
                self.destination or None, to_filter(self.condition), within=within
            )
            return step.count, step.after is not None
        return await self._count_one_by_one(outbox)

    async def _count_one_by_one(self, outbox: Outbox) -> tuple[int, bool]:
        total = 0
        async for _ in self.stream(outbox):
            total += 1
            if total > _MOST_COUNTED:
                return _MOST_COUNTED, True
        return total, False
