"""Each attack in a short form, and proof that the attacks find a loss when there is one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from anytrack_async import AnyTrackClient
from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.sandbox import in_thread
from tests.chaos import ATTACKS, Attack, __main__, cancel, full, network, power
from tests.chaos.audit import SANDBOX, audit
from tests.chaos.trial import Trial
from tests.end_to_end.shop import sale

ROUNDS = {"kill": 2, "share": 3, "power": 1, "cancel": 4}  # of other attacks: one
ROOT = Path(__file__).parents[2]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", sorted(ATTACKS.keys() - {"fleet"}))  # see test_fleet.py
async def test_a_short_attack_loses_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full, "CAPACITIES", (10_100_000, 10_100_000))  # nearly full at once
    trial = Trial(name, 1, tmp_path, seconds=10, max_rounds=ROUNDS.get(name, 1))

    await ATTACKS[name].make(trial)

    assert not trial.losses, trial.line()
    assert trial.figures["accepted"] > 0


@pytest.mark.asyncio
async def test_an_outbox_that_does_not_sync_loses_conversions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = Database.transaction

    @contextmanager
    def unsynced(self: Database, *, synced: bool) -> Iterator[object]:
        with transaction(self, synced=False) as sql:
            yield sql

    monkeypatch.setattr(Database, "transaction", unsynced)
    trial = Trial("power", 1, tmp_path, seconds=10, max_rounds=1)

    await power.attack(trial)

    assert trial.figures["lost"] > 0
    assert "LOSSES: lost: " in trial.line()


@pytest.mark.asyncio
async def test_an_audit_finds_what_outbox_or_service_do_not_have(tmp_path: Path) -> None:
    trial = Trial("kill", 1, tmp_path, seconds=1)
    with in_thread(SANDBOX) as sandbox:
        for number, path in enumerate((tmp_path / "other.db", trial.outbox)):
            environ = sandbox.environment()
            async with AnyTrackClient.from_env(environ, outbox=path, log=False) as client:
                await client.submit(sale(number))
        sandbox.reset()
        await audit(trial, sandbox, {sale(number).event_id for number in (0, 1)})

    assert trial.losses == [
        "lost: 1 (sale:order-0)",
        "undelivered: 2 (sale:order-0, sale:order-1)",
    ]


@pytest.mark.asyncio
async def test_a_client_that_drops_conversions_silently_loses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def report_nothing(_: Dispatcher) -> None:
        """Close as if everything were delivered."""

    monkeypatch.setattr(Dispatcher, "_report_undelivered", report_nothing)
    trial = Trial("cancel", 1, tmp_path, seconds=10, max_rounds=8)

    await cancel.attack(trial)

    assert trial.figures["lost"] > 0


@pytest.mark.asyncio
async def test_a_confirmation_of_what_a_service_does_not_have_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "ids", lambda sandbox, service: {})
    monkeypatch.setattr(network, "CONVERSIONS", 10)
    trial = Trial("network", 1, tmp_path, seconds=10, max_rounds=1)

    await network.attack(trial)

    assert trial.figures["confirmed but not there"] == 10


def test_the_random_numbers_of_a_round_depend_on_seed_attack_and_number(
    tmp_path: Path,
) -> None:
    trials = [("kill", 1), ("kill", 1), ("kill", 2), ("share", 1)]
    drawn = []
    for index, (name, seed) in enumerate(trials):
        folder = tmp_path / str(index)
        folder.mkdir()
        rounds = Trial(name, seed, folder, seconds=10, max_rounds=2).rounds()
        drawn.append([round_.random.random() for round_ in rounds])

    assert drawn[0] == drawn[1]
    assert len({number for numbers in drawn for number in numbers}) == 6


@pytest.mark.asyncio
async def test_a_loss_or_a_failure_makes_the_command_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def losing(trial: Trial) -> None:
        trial.expect_none("lost", {"sale:1"})

    async def failing(trial: Trial) -> None:
        raise ValueError("no file")

    async def harmless(trial: Trial) -> None:
        trial.count(accepted=1000)

    lines = []
    for attack in (losing, failing, harmless):
        module = SimpleNamespace(attack=attack)
        monkeypatch.setitem(sys.modules, "tests.chaos.example", module)
        monkeypatch.setattr(__main__, "ATTACKS", {"kill": Attack("example:attack", 1)})
        trial = Trial("kill", 1, tmp_path, seconds=1)
        await __main__.make_attack(trial)
        lines.append((trial.line(), bool(trial.losses)))

    assert lines == [
        ("kill     1 lost (0 s, seed 1)  LOSSES: lost: 1 (sale:1)", True),
        (
            "kill      (0 s, seed 1)  LOSSES: the attack itself failed: ValueError('no file')",
            True,
        ),
        ("kill     1,000 accepted (0 s, seed 1)", False),
    ]


def test_the_documentation_has_each_attack() -> None:
    text = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")

    for name in ATTACKS:
        assert f"`{name}`" in text
