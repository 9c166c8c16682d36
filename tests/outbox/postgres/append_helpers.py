"""Appending on a connection of one's own, as a program does in its own transaction."""

from anytrack_async.outbox.postgres.append import APPEND, AppendArguments, results
from anytrack_async.outbox.postgres.schema import in_schema
from anytrack_async.testing.outbox_rules.base import sales


async def append_on(connection, schema, *order_numbers, destinations=None):
    """Append the sales of some orders on *connection*; return the result of each."""
    arguments = AppendArguments.of(sales(*order_numbers), destinations)
    row = await connection.fetchrow(in_schema(APPEND, schema), *arguments.parameters())
    return results(arguments, row["added"], row["first_summaries"])
