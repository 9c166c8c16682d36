"""Appending conversions: one statement, which any driver can run in any transaction.

Encode the conversions with `AppendArguments.of`, run `APPEND` with `AppendArguments.parameters`,
and pass the row to `results`::

    arguments = AppendArguments.of(conversions, destinations)
    row = await connection.fetchrow(in_schema(APPEND, "anytrack"), *arguments.parameters())
    results(arguments, row["added"], row["first_summaries"])

The statement takes no lock but those on its own rows. Nothing is delivered before the transaction
is committed, and if it is rolled back, nothing was ever there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import attrs
from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import encode, memory_bytes
from anytrack_async.models.contradiction import find_contradiction
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended, AppendResult
from anytrack_async.outbox.checks import USUAL_BYTES, check_append_bytes

APPEND = """SELECT added, first_summaries FROM anytrack.append_v1(
    $1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::int[], $7::bigint,
    $8::float8)"""
"""Accepts conversions: see `AppendArguments.parameters`. Replace ``anytrack.`` by `in_schema`."""

APPEND_OR_GIVE_UP = """SELECT added, first_summaries FROM
    (SELECT set_config('lock_timeout', '200ms', true) AS limited OFFSET 0) AS setting,
    LATERAL anytrack.append_v1(
        $1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::int[],
        CASE WHEN setting.limited IS NOT NULL THEN $7::bigint END, $8::float8)"""
"""The same, but it fails with `LOCKED` after 0.2 seconds of waiting for another transaction.

That happens to a repeat of a conversion whose transaction is not committed yet. The seventh
argument depends on the setting, so that it is made before the function is called. It ends with the
statement, which must not be in a transaction of its caller.
"""

APPEND_WITHIN = """SELECT added, first_summaries FROM anytrack.append_v2(
    $1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::int[], $7::bigint,
    $8::float8, $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::text[])"""
"""The same, but what is accepted is also counted in the caller's transaction; see `kinds_of`."""

ENCODED_AT_ONCE = 50
"""Conversions encoded before other tasks may run: a fraction of a millisecond."""

_BYTES_AT_ONCE = 2**18
"""Bytes of records after which other tasks may run too, however few conversions they are."""


@attrs.define(kw_only=True)
class AppendArguments:
    """The arguments of `APPEND` as columns, one value per conversion.

    Attributes:
        recipients: names of the destinations that all of them are addressed to; None for all.
        event_ids: their event ids.
        summaries: their summaries, to tell repeats from contradictions.
        payloads: their records.
        digests: the digests of the records.
        large: bytes of memory of each that has a record of more than 2 KiB, and 0 for the others;
            empty if all are small.
        size: the bytes of all records.
    """

    recipients: tuple[str, ...] | None
    event_ids: list[str] = attrs.field(factory=list)
    summaries: list[str] = attrs.field(factory=list)
    payloads: list[bytes] = attrs.field(factory=list)
    digests: list[bytes] = attrs.field(factory=list)
    large: list[int] = attrs.field(factory=list)
    size: int = 0

    def __len__(self) -> int:
        return len(self.event_ids)

    @classmethod
    def of(cls, conversions: Sequence[Conversion], destinations: Sequence[str] | None) -> Self:
        """Return the arguments for *conversions*, addressed to *destinations*; None for all.

        Raises:
            UnsendableError: a conversion has more than `MAX_CONVERSION_BYTES`, or all together have
                more than `MAX_APPEND_BYTES`.
            TypeError: JSON cannot hold one, because its ``custom_data`` was changed.
        """
        arguments = cls(recipients=None if destinations is None else tuple(destinations))
        for _ in arguments.add_in_steps(conversions):
            pass
        return arguments

    @classmethod
    async def of_many(
        cls, conversions: Sequence[Conversion], destinations: Sequence[str] | None
    ) -> Self:
        """Do the same as `of`; other tasks may run in between."""
        arguments = cls(recipients=None if destinations is None else tuple(destinations))
        for _ in arguments.add_in_steps(conversions):
            await checkpoint()
        return arguments

    def add_in_steps(self, conversions: Sequence[Conversion]) -> Iterator[None]:
        """Add *conversions*; yield whenever other tasks should run.

        Raises:
            UnsendableError: see `of`.
        """
        start = since = self.size
        for count, conversion in enumerate(conversions, 1):
            payload, digest = encode(conversion)
            # The function `summary` would take a third longer.
            summary = f"{conversion.conversion_type} {conversion.revenue!s} {conversion.currency}"
            self.event_ids.append(conversion.event_id)
            self.summaries.append(summary)
            self.payloads.append(payload)
            self.digests.append(digest)
            size = len(payload)
            self.size += size
            if size > USUAL_BYTES or self.large:
                self._add_size(payload)
            if count % ENCODED_AT_ONCE == 0 or self.size - since > _BYTES_AT_ONCE:
                since = self.size
                check_append_bytes(self.size - start, count, len(conversions))
                yield

    def truncate(self, count: int) -> None:
        """Remove all conversions but the first *count*."""
        self.size = sum(map(len, self.payloads[:count]))
        for column in (self.event_ids, self.summaries, self.payloads, self.digests, self.large):
            del column[count:]

    def _add_size(self, payload: bytes) -> None:
        if not self.large:
            self.large = [0] * (len(self.event_ids) - 1)
        self.large.append(memory_bytes(payload) if len(payload) > USUAL_BYTES else 0)

    def parameters(
        self, *, room: int | None = None, now: float | None = None
    ) -> tuple[object, ...]:
        """Return the parameters of `APPEND`, $1 to $8.

        Args:
            room: how many of the conversions may be new, else the statement fails with the error
                code `errors.FULL`; None for any number.
            now: the time, unix seconds; None for the server's clock.
        """
        return (
            self.event_ids,
            self.summaries,
            self.payloads,
            self.digests,
            self.recipients,
            self.large or None,
            room,
            now,
        )


def results(
    arguments: AppendArguments, added: int, first_summaries: Sequence[str | None] | None
) -> list[AppendResult]:
    """Return the result per conversion.

    Args:
        arguments: what was appended.
        added: the column ``added`` of the answer to `APPEND`: how many conversions are new.
        first_summaries: the column ``first_summaries``: None if all are new, else for each
            conversion None if it is new, and the summary of the first one if it is a repeat.
    """
    if first_summaries is None:
        return [Appended.NEW] * added
    return [
        Appended.NEW
        if first is None
        else find_contradiction(event_id, first, repeat) or Appended.REPEAT
        for event_id, first, repeat in zip(
            arguments.event_ids, first_summaries, arguments.summaries, strict=True
        )
    ]
