"""`PostgresJoining`: appending in transactions of the caller's, with the caller's driver."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import AppendResult
from anytrack_async.outbox.capabilities import ParameterStyle
from anytrack_async.outbox.postgres.append import APPEND_WITHIN, AppendArguments, results
from anytrack_async.outbox.postgres.counts import kinds_of
from anytrack_async.outbox.postgres.errors import advice_for, sqlstate
from anytrack_async.outbox.postgres.log import Log, new_of
from anytrack_async.outbox.postgres.news import News
from anytrack_async.outbox.postgres.store import PostgresStore
from anytrack_async.outbox.transactions import execute_within

_PARAMETER = re.compile(r"\$\d+")


class PostgresJoining(PostgresStore):
    """The part of `PostgresOutbox` that is a `JoinableOutbox`."""

    _log: Log
    _news: News

    async def append_within(
        self,
        transaction: object,
        conversions: Sequence[Conversion],
        destinations: Sequence[str] | None = None,
    ) -> Sequence[AppendResult]:
        """Append *conversions* in a transaction of the caller's; see `JoinableOutbox`.

        The transaction waits for another one that has appended the same event id and is not
        committed. So two that append the same ids in different order wait for each other, and the
        server ends one of them with an error: append once in a transaction, at its end.
        """
        self._db.check_open()
        if not conversions:
            return []
        conversions = tuple(conversions)
        arguments = await AppendArguments.of_many(
            conversions, destinations, self._cipher.if_encrypting
        )
        await self._log.check_room(arguments)
        kinds = kinds_of(conversions)
        try:
            row = await execute_within(
                transaction, lambda style: self._statement(arguments, kinds, style)
            )
        except Exception as exc:
            _explain(exc)
            raise
        self._log.take_room(arguments, row[0])
        self._news.announce_joined()
        appended = results(arguments, row[0], row[1])
        if row[1] is not None:  # the transaction has not counted them, as some are repeats
            self._counts.accepted(new_of(conversions, appended))
        return appended

    def append_statement(
        self,
        conversions: Sequence[Conversion],
        destinations: Sequence[str] | None = None,
        *,
        style: ParameterStyle = "format",
    ) -> tuple[str, Sequence[object]]:
        """Return a statement that appends *conversions*, and its parameters; see `JoinableOutbox`.

        It works before the outbox is opened too, if its schema is in the database.
        """
        conversions = tuple(conversions)
        arguments = AppendArguments.of(conversions, destinations, self._cipher.if_encrypting)
        return self._statement(arguments, kinds_of(conversions), style)

    def append_results(
        self, conversions: Sequence[Conversion], row: Sequence[Any]
    ) -> Sequence[AppendResult]:
        """Return the results, as `append` does, from the row of `append_statement`."""
        return results(AppendArguments.of(tuple(conversions), None), row[0], row[1])

    def _statement(
        self,
        arguments: AppendArguments,
        kinds: Sequence[Sequence[object]],
        style: ParameterStyle,
    ) -> tuple[str, Sequence[object]]:
        sql = self._db.statement(self._cipher.listing(APPEND_WITHIN))
        if style == "format":
            sql = _PARAMETER.sub("%s", sql)  # $1, $2, … are in order
        # psycopg would make a composite value of a tuple.
        values = (*arguments.parameters(now=self._fixed_now()), *kinds)
        return sql, [list(value) if isinstance(value, tuple) else value for value in values]


def _explain(exc: Exception) -> None:
    """Add what to do to an exception of the caller's driver, where the outbox knows."""
    # SQLAlchemy has the exception of the driver as an attribute, Django as the cause.
    for cause in (exc, getattr(exc, "orig", None), exc.__cause__):
        if cause is not None and (advice := advice_for(sqlstate(cause))):
            exc.add_note(f"anytrack_async: {advice}")
            return
