"""Searching the dead letters and conversions of a file in parts, and what a condition matches."""

import attrs
import pytest

from anytrack_async import KeyRing, SQLiteOutbox
from anytrack_async.outbox.dead_letters import DeadLetterFilter
from anytrack_async.testing.outbox_contract import LEASE, sale
from anytrack_async.testing.outbox_rules.base import failures

pytestmark = pytest.mark.asyncio

TEXTS = ["STRASSE", "straße", "kelvin", "TAB", "i̇d", "9"]
ERRORS = ["Event too old", "STRASSE missing", "Straße fehlt", "\u212aelvin", "tab\there", "İd"]


async def letters(outbox, clock, count=60):
    """Make *count* dead letters of alpha, a second apart, with every reason and three codes."""
    for start in range(0, count, 6):
        numbers = range(start, start + 6)
        await outbox.append([sale(number) for number in numbers])
        claim = await outbox.claim("alpha", 6, LEASE)
        failed = failures(claim, *numbers)
        await outbox.settle(
            claim,
            [
                attrs.evolve(item, error=f"{ERRORS[item.seq % 6]} {item.seq}", code=code(item.seq))
                for item in failed
            ],
        )
        clock.advance(1.0)


def code(seq):
    return (None, "E1", "E2")[seq % 3]


@pytest.mark.parametrize("keys", [None, KeyRing(["A" * 43])])
async def test_sql_finds_what_the_condition_matches(path, clock, keys):
    outbox = SQLiteOutbox(path, clock=clock, keys=keys)
    await outbox.open(["alpha"])
    await letters(outbox, clock)
    every = await outbox.dead_letters(limit=100)
    conditions = [
        *(
            DeadLetterFilter(text=text)
            for text in ("STRASSE", "straße", "kelvin", "TAB", "i̇d", "9")
        ),
        DeadLetterFilter(code="E1", text="old"),
        DeadLetterFilter(min_age=5.0),
        DeadLetterFilter(max_age=5.0, code="E2"),
        DeadLetterFilter(died_before=every[20].died_at),
        DeadLetterFilter(code="E3"),
    ]
    for where in conditions:
        expected = [
            letter.seq
            for letter in every
            if where.matches(
                error=letter.error,
                code=letter.code,
                died_at=letter.died_at,
                age=clock.now - letter.died_at,
            )
        ]
        found = await outbox.dead_letters(where=where, limit=100)
        part = await outbox.search_dead_letters(None, where)
        count = await outbox.count_dead_letters("alpha", where)
        assert [letter.seq for letter in found] == expected, where
        assert ([letter.seq for letter in part.letters], part.after) == (expected, None)
        assert (count.count, count.after) == (len(expected), None)
    await outbox.aclose()


async def test_a_search_looks_at_a_part_and_goes_on(outbox, clock):
    await letters(outbox, clock)
    where, after, parts = DeadLetterFilter(text="old"), 0, []
    while after is not None:
        page = await outbox.search_dead_letters(None, where, after=after, within=15)
        after = page.after
        parts.append([letter.seq for letter in page.letters])

    assert parts == [[6, 12], [18, 24, 30], [36, 42], [48, 54, 60], []]
    counted = await outbox.count_dead_letters(None, where, within=15)
    assert (counted.count, counted.after) == (2, 15)


async def test_changes_go_step_by_step(outbox, clock, monkeypatch):
    monkeypatch.setattr("anytrack_async.outbox.sqlite.dead_letter_pages.DEAD_LETTERS_PER_STEP", 8)
    await letters(outbox, clock, 24)
    step = await outbox.change_dead_letters("discard", "alpha", DeadLetterFilter(code="E1"))
    rest = await outbox.change_dead_letters(
        "replay", "alpha", DeadLetterFilter(text="old"), after=step.after or 0
    )

    assert (step.count, step.after) == (8, 22)
    assert (rest.count, rest.after) == (1, None)
    assert (await outbox.verify()).is_intact


async def test_conversions_are_searched_in_parts(outbox, monkeypatch):
    monkeypatch.setattr("anytrack_async.outbox.sqlite.history.outbox.SEARCHED_PER_STEP", 4)
    await outbox.append([sale(number, click_id=f"click-{number}") for number in range(1, 11)])
    first = await outbox.search_conversions(click_id="click-1", within=4)
    second = await outbox.search_conversions(click_id="click-1", before=first.before, within=8)
    by_order = await outbox.search_conversions(order_id="9", within=4)

    assert ([*first.conversions], first.before) == ([], 7)
    assert [item.event_id for item in second.conversions] == ["sale:1"]
    assert second.before is None
    assert [item.event_id for item in by_order.conversions] == ["sale:9"]
