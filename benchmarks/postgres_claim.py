"""Row 28: claiming, reading and settling 500 in PostgreSQL, against the plain read of a range."""

from __future__ import annotations

from anytrack_async.outbox.checks import MAX_CLAIM_BYTES
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.claim import new_lease_id
from benchmarks import postgres
from benchmarks.measure import Row
from benchmarks.postgres import ServerCost, connect, costs_on_server, fill, interleaved, lines
from tests.servers.postgres import PostgresServer

NUMBER = 28
NEEDS = postgres.NEEDS

BATCH = 500
_READ = "SELECT id, digest, payload FROM anytrack.log WHERE id >= $1 ORDER BY id LIMIT $2"
_FLOOR, _OURS = "range read", "claim, read, settle"


def run(quick: bool) -> Row:
    """Claim from a log of batches, each time for the next of some destinations."""
    rows, rounds = (5_000, 1) if quick else (100_000, 5)
    costs = costs_on_server(_measure, rows, rounds)
    time = costs[_OURS].wall / costs[_FLOOR].wall
    return Row(
        number=NUMBER,
        measure=f"claim, read and settle {BATCH} conversions in PostgreSQL",
        against="the plain read of a range of the log",
        target="≤ 2.2 × its time",
        result=f"{time:.2f} ×",
        reached=time <= 2.2,
        details=lines(costs),
    )


async def _measure(started: PostgresServer, rows: int, rounds: int) -> dict[str, ServerCost]:
    names = [f"destination{number}" for number in range(rounds + 1)]
    outbox = await fill(started.dsn, "anytrack", names, rows)
    connection = await connect(started.dsn)
    await connection.execute("ANALYZE")
    destinations = iter(names)

    async def read() -> int:
        first = 0
        for _ in range(0, rows, BATCH):
            first = (await connection.fetch(_READ, first, BATCH))[-1][0] + 1
        return rows

    async def claim() -> int:
        name = next(destinations)
        for _ in range(0, rows, BATCH):
            lease = new_lease_id()
            parameters = (name, lease, BATCH, 60.0, MAX_CLAIM_BYTES, 1, 8, None)
            (row,) = await connection.fetch(queries.CLAIM, *parameters)
            records = await connection.fetch(
                queries.RECORDS.one, row["firsts"][0], row["lasts"][0], name
            )
            assert len(records) == BATCH
            (settled,) = await connection.fetch(queries.SETTLE, name, lease, None)
            assert settled[0]
        return rows

    runs = {_FLOOR: read, _OURS: claim}
    costs = await interleaved(started.pid, runs, rounds)
    await outbox.aclose()
    return costs
