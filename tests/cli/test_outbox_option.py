"""`--outbox`: every command that uses an outbox takes its place as an option."""

from __future__ import annotations

import anyio
import pytest
import typer.main

from anytrack_async import Conversion, SQLiteOutbox
from anytrack_async.cli.app import app
from anytrack_async.outbox.base import FailedEntry

WITHOUT_OUTBOX = {
    # no outbox at all
    *("affiliates show", "affiliates top", "attribution", "check"),
    *("destinations", "export", "outbox new-key", "report", "sandbox", "setup", "touchpoints"),
    "demo",  # makes its own
    "outbox copy",  # from one place to another
}


def commands(command, path="") -> dict[str, set[str]]:
    """Each command with its options."""
    inner = getattr(command, "commands", None)
    if not inner:
        return {path.strip(): {option for param in command.params for option in param.opts}}
    return {
        name: options
        for key, item in inner.items()
        for name, options in commands(item, f"{path} {key}").items()
    }


async def fill(path) -> None:
    """Two conversions; one is dead at Meta."""
    outbox = SQLiteOutbox(path)
    await outbox.open(["meta", "hubspot"])
    await outbox.append([Conversion.sale(order_id=f"{n}", revenue=n) for n in range(2)])
    claim = await outbox.claim("meta", 1, 60)
    dead = FailedEntry(seq=claim.entries[0].seq, attempts=1, error="too old", code="7", due=None)
    await outbox.settle(claim, [dead])
    await outbox.aclose()


@pytest.fixture
def filled(tmp_path):
    path = tmp_path / "shop outbox.db"
    anyio.run(fill, path)
    return path


def test_every_command_that_uses_an_outbox_has_the_option() -> None:
    found = commands(typer.main.get_command(app))

    assert {name for name, options in found.items() if "--outbox" not in options} == {
        name for name in found if name in WITHOUT_OUTBOX or name.startswith("report ")
    }


@pytest.mark.parametrize(
    ("command", "shows"),
    [
        ("stats", "hubspot"),
        ("outbox dead", "too old"),
        ("outbox dead meta", "too old"),
        ("outbox show sale:1", "sale:1"),
        ("outbox verify", "the file is intact"),
        ("outbox keys", "none"),
        ("outbox edit sale:0 --set revenue=7", "due again at meta"),
        ("outbox replay meta", "1 dead letter is due again"),
        ("outbox discard --all --yes", "1 discarded"),
        ("outbox export letters.jsonl --all", "1 conversions written"),
        ("outbox prune", "0 conversions dropped"),
        ("outbox vacuum", "MB now"),
        ("outbox forget --external-id 7 --yes", "no data of this person"),
        ("outbox remove-destination meta --yes", "1 waiting conversions and 1 dead letters"),
        ("reconcile --help", "--outbox"),
    ],
)
def test_the_option_takes_the_place_of_the_variable(
    run, filled, tmp_path, monkeypatch, command, shows
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANYTRACK_OUTBOX", str(tmp_path / "another.db"))
    if "export" in command:
        command = command.removesuffix(" --all")

    result = run(*command.split(), "--outbox", str(filled))

    assert result.code == 0, result.err
    assert shows in result.out
    assert not (tmp_path / "another.db").exists()


def test_a_missing_file_named_by_the_option_is_not_created(run, tmp_path) -> None:
    result = run("stats", "--outbox", str(tmp_path / "typo.db"))

    assert result.code == 2
    assert "--outbox names" in result.err
    assert "which does not exist" in result.err
    assert not (tmp_path / "typo.db").exists()


def test_what_a_message_advises_names_the_outbox_too(run, filled) -> None:
    assert f"see: anytrack outbox dead --outbox '{filled}'" in run(
        "stats", "--outbox", str(filled)
    ).out.replace("\n", " ")


def test_track_uses_the_outbox_of_the_option(run, sandbox, tmp_path) -> None:
    path = tmp_path / "track.db"
    result = run(
        *("track", "sale", "--revenue", "1", "--order-id", "7", "--no-wait", "--outbox", str(path))
    )

    assert result.code == 0, result.err
    assert "waiting" in run("stats", "--outbox", str(path)).out
    assert "sale:7" in run("outbox", "show", "sale:7", "--outbox", str(path)).out


# A destination that is gone


def test_a_destination_is_removed_after_a_yes(run, filled) -> None:
    option = ("--outbox", str(filled))
    refused = run("outbox", "remove-destination", "meta", *option, text="n\n")
    assert refused.code == 1
    assert "1 waiting conversions and 1 dead letters of meta" in refused.out

    assert run("outbox", "remove-destination", "meta", *option, text="y\n").code == 0
    after = run("stats", *option).out
    assert "meta" not in after
    assert "hubspot" in after


def test_a_destination_that_the_outbox_does_not_have_cannot_be_removed(run, filled) -> None:
    result = run("outbox", "remove-destination", "meat", "--yes", "--outbox", str(filled))

    assert result.code == 2
    assert "the outbox has no destination 'meat'; it has: hubspot, meta" in result.err
