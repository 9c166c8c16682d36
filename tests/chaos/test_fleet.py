"""The attack `fleet` in a short form, and proof that it finds a loss when there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from anytrack_async import Conversion
from tests.chaos.fleet import attack_on, audit, prepare
from tests.chaos.fleet_workers import DESTINATIONS, Lines, outbox_at
from tests.chaos.trial import Trial
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.asyncio


@pytest.fixture
def server(own_postgres: PostgresServer) -> PostgresServer:
    own_postgres.execute("DROP TABLE IF EXISTS orders")
    own_postgres.execute("DROP SCHEMA IF EXISTS anytrack CASCADE")
    return own_postgres


async def test_a_short_attack_on_a_fleet_loses_nothing(
    tmp_path: Path, server: PostgresServer
) -> None:
    trial = Trial("fleet", 1, tmp_path, seconds=10, max_rounds=4)

    await attack_on(server, trial)

    assert not trial.losses, trial.line()
    for what in ("accepted", "rolled back", "orders", "kills", "stops", "crashes"):
        assert trial.figures[what] > 0, trial.line()


async def test_the_audit_finds_each_kind_of_loss(tmp_path: Path, server: PostgresServer) -> None:
    await prepare(server)
    sales = [Conversion.sale(order_id=f"joint-{number}", revenue=5) for number in range(5)]
    ids = [sale.event_id for sale in sales]
    server.execute("INSERT INTO orders SELECT unnest(%s::text[])", ids[:3])
    outbox = outbox_at(server.dsn)
    await outbox.open(DESTINATIONS)
    await outbox.append(sales[1:])
    await outbox.aclose()
    Lines(tmp_path, "accepted", 1).write(ids[:3])
    Lines(tmp_path, "rolled-back", 1).write(ids[3:4])
    Lines(tmp_path, "at-alpha", 1).write(ids)
    Lines(tmp_path, "at-beta", 1).write([ids[0], ids[0], *ids[2:]])
    trial = Trial("fleet", 1, tmp_path, seconds=10)

    twice = await audit(trial, server)

    assert trial.losses == [
        f"lost: 1 ({ids[0]})",
        f"undelivered: 1 ({ids[1]})",
        f"delivered though rolled back: 1 ({ids[3]})",
        f"delivered without an order: 2 ({ids[3]}, {ids[4]})",
    ]
    assert twice == 1 / 10
