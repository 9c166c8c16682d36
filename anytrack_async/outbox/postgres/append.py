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
from anytrack_async.outbox.postgres.encryption import RowCipher

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

That happens to a repeat of a conversion in a transaction that is not committed yet. The seventh
argument depends on the setting, so that the setting is made before the function is called. The
setting ends with the statement, which must not be in a transaction of its caller.
"""

APPEND_UNLESS_LOCKED = APPEND_OR_GIVE_UP.replace("'200ms'", "'10ms'")
"""The same, but it fails after 0.01 seconds. It is for the calls of a group that has given up, so
that fifty of them that have to wait delay one that need not by half a second."""

APPEND_ONE = """WITH new AS (
        INSERT INTO anytrack.ids (event_id, id, summary)
            SELECT $1::text, nextval('anytrack.block') << 12, $2::text
        ON CONFLICT (event_id) DO NOTHING RETURNING id
    ), stored AS (
        INSERT INTO anytrack.log (id, digest, payload) SELECT id, $3::bytea, $4::bytea FROM new
    )
    INSERT INTO anytrack.arrival (block, n, at, recipients, large)
        SELECT id, 1, anytrack.now_v1($7::float8), $5::text[], $6::int[] FROM new"""
"""Accepts one conversion if it is new, as `APPEND` does, for three quarters of its processor time.

Its command tag is `APPENDED_ONE`, or another one if the event id is known: then nothing has
changed, and `APPEND` returns the summary of the first conversion. For connections that prepare
statements: planning this statement takes longer than calling the function.
"""

APPENDED_ONE = "INSERT 0 1"

APPEND_WITHIN = """SELECT added, first_summaries FROM anytrack.append_v2(
    $1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::int[], $7::bigint,
    $8::float8, $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::text[])"""
"""The same, but accepted conversions are also counted in the transaction; see `kinds_of`."""

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
        cipher: encrypts the records; None for no encryption.
    """

    recipients: tuple[str, ...] | None
    event_ids: list[str] = attrs.field(factory=list)
    summaries: list[str] = attrs.field(factory=list)
    payloads: list[bytes] = attrs.field(factory=list)
    digests: list[bytes] = attrs.field(factory=list)
    large: list[int] = attrs.field(factory=list)
    size: int = 0
    cipher: RowCipher | None = attrs.field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.event_ids)

    @classmethod
    def of(
        cls,
        conversions: Sequence[Conversion],
        destinations: Sequence[str] | None,
        cipher: RowCipher | None = None,
    ) -> Self:
        """Return the arguments for *conversions*, addressed to *destinations*; None for all.

        Raises:
            UnsendableError: a conversion has more than `MAX_CONVERSION_BYTES`, or all together have
                more than `MAX_APPEND_BYTES`.
            TypeError: JSON cannot hold one, because its ``custom_data`` was changed.
        """
        recipients = None if destinations is None else tuple(destinations)
        arguments = cls(recipients=recipients, cipher=cipher)
        for _ in arguments.add_in_steps(conversions):
            pass
        return arguments

    @classmethod
    async def of_many(
        cls,
        conversions: Sequence[Conversion],
        destinations: Sequence[str] | None,
        cipher: RowCipher | None = None,
    ) -> Self:
        """Do the same as `of`; other tasks may run in between."""
        recipients = None if destinations is None else tuple(destinations)
        arguments = cls(recipients=recipients, cipher=cipher)
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
            size = len(payload)
            if size > USUAL_BYTES or self.large:
                self._add_size(payload)
            if self.cipher is not None:
                payload, digest = self.cipher.seal_record(payload, digest)
                size = len(payload)
            self.payloads.append(payload)
            self.digests.append(digest)
            self.size += size
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

    def single_parameters(self, *, now: float | None = None) -> tuple[object, ...]:
        """Return the parameters of `APPEND_ONE`, $1 to $7, for the only conversion."""
        return (
            self.event_ids[0],
            self.summaries[0],
            self.digests[0],
            self.payloads[0],
            self.recipients,
            self.large or None,
            now,
        )


def results(
    arguments: AppendArguments, added: int, first_summaries: Sequence[str | None] | None
) -> list[AppendResult]:
    """Return the result per conversion.

    Args:
        arguments: the appended conversions, encoded.
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
