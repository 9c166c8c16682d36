"""Rules about searching and changing dead letters in parts of a bounded size."""

# ruff: noqa: D102, S101

from __future__ import annotations

import pytest
import pytest_asyncio

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.dead_letters import Action, DeadLetterFilter, SearchesDeadLetters
from anytrack_async.testing.outbox_rules.base import Rules, dead_letter, sales

_OF_ALL, _OF_NONE = DeadLetterFilter(code="E1"), DeadLetterFilter(text="nowhere")


class DeadLetterStepRules(Rules):
    """Tests of `SearchesDeadLetters`; skipped for an outbox without that part."""

    @pytest_asyncio.fixture
    async def letters(self, outbox: Outbox) -> SearchesDeadLetters:
        """The open outbox, with 30 dead letters of alpha, and each third one at beta too."""
        if not isinstance(outbox, SearchesDeadLetters):
            pytest.skip("this outbox does not search dead letters in parts")
        await outbox.append(sales(*range(1, 31)))
        await dead_letter(outbox, "alpha", *range(1, 31))
        await dead_letter(outbox, "beta", *range(3, 31, 3))
        return outbox

    async def test_a_search_goes_on_where_its_last_part_ended(
        self, letters: SearchesDeadLetters
    ) -> None:
        found: list[tuple[int, str]] = []
        after: int | None = 0
        while after is not None:
            page = await letters.search_dead_letters(None, _OF_ALL, after=after, limit=7, within=10)
            found += [(int(item.event_id[5:]), item.destination) for item in page.letters]
            assert page.after is None or page.after > after
            after = page.after

        assert len(found) == 40
        assert sorted(set(found)) == found

    async def test_a_part_without_a_match_says_where_to_go_on(
        self, letters: SearchesDeadLetters
    ) -> None:
        page = await letters.search_dead_letters("alpha", _OF_NONE, within=10)
        rest = await letters.search_dead_letters("alpha", _OF_NONE, after=page.after or 0)

        assert not page.letters
        assert page.after
        assert (list(rest.letters), rest.after) == ([], None)

    async def test_what_is_counted_is_what_the_part_has(self, letters: SearchesDeadLetters) -> None:
        everything = await letters.count_dead_letters(None, _OF_ALL)
        nothing = await letters.count_dead_letters("beta", _OF_NONE, within=3)

        assert (everything.count, everything.after) == (40, None)
        assert nothing.count == 0
        assert nothing.after

    @pytest.mark.parametrize("action", ["replay", "discard"])
    async def test_a_change_ends_with_all_that_match(
        self, letters: SearchesDeadLetters, outbox: Outbox, action: Action
    ) -> None:
        count, after = 0, await self._first_end(letters)
        while after is not None:
            step = await letters.change_dead_letters(action, "alpha", _OF_ALL, after=after)
            count, after = count + step.count, step.after
        depth = (await outbox.depths())["alpha"]

        assert (count, depth.dead) == (20, 10)
        assert depth.waiting == (20 if action == "replay" else 0)
        assert (await outbox.depths())["beta"].dead == 10

    async def _first_end(self, letters: SearchesDeadLetters) -> int | None:
        """Return the position of the tenth dead letter of alpha."""
        return (await letters.search_dead_letters("alpha", _OF_ALL, limit=10)).letters[-1].seq

    async def test_an_unknown_destination_is_told(self, letters: SearchesDeadLetters) -> None:
        with pytest.raises(OutboxError, match="nowhere"):
            await letters.search_dead_letters("nowhere", _OF_ALL)
        with pytest.raises(OutboxError, match="nowhere"):
            await letters.change_dead_letters("replay", "nowhere", _OF_ALL)
