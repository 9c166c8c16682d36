"""A trial: one attack with its random numbers, its time, and what came out."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from random import Random

import attrs

_NAMED = 5
"""Losses that a line names, and event ids that a loss names."""


@attrs.frozen
class Round:
    """One repetition of an attack.

    Attributes:
        number: counts from 0.
        random: depends on seed, attack and number only, however many rounds there was time for.
        folder: an empty folder of its own.
    """

    number: int
    random: Random
    folder: Path


@attrs.define
class Trial:
    """An attack that runs for some time, or a number of rounds.

    Attributes:
        attack: its name.
        seed: makes the same random decisions again.
        folder: for the files of the rounds.
        seconds: no round begins after this time; the last one may take longer.
        max_rounds: no more rounds than this.
        figures: what was counted, by its name in the report.
        losses: what was lost, or went wrong otherwise; empty if the attack failed, as it should.
    """

    attack: str
    seed: int
    folder: Path
    seconds: float
    max_rounds: int = 1_000_000
    figures: Counter[str] = attrs.field(factory=Counter)
    losses: list[str] = attrs.field(factory=list)
    _started: float = attrs.field(factory=time.monotonic)

    @property
    def outbox(self) -> Path:
        """The outbox file of attacks that use the same one in all rounds."""
        return self.folder / "outbox.db"

    def rounds(self) -> Iterator[Round]:
        """Yield rounds until the time is over; always at least one."""
        end = time.monotonic() + self.seconds
        for number in itertools.takewhile(lambda n: n < self.max_rounds, itertools.count()):
            if number and time.monotonic() > end:
                return
            folder = self.folder / f"{self.attack}-{number}"
            folder.mkdir()
            yield Round(number, self.random(number), folder)

    def random(self, name: object) -> Random:
        """Return random numbers for a part of the attack, the same for each run with a seed."""
        return Random(f"{self.seed}:{self.attack}:{name}")

    def count(self, **figures: int) -> None:
        """Add to figures; an underscore in a name is a space in the report."""
        self.figures.update({name.replace("_", " "): value for name, value in figures.items()})

    def lose(self, what: str, event_ids: Collection[str] = ()) -> None:
        """Note a loss, unless it is about conversions and there are none."""
        named = ", ".join(sorted(event_ids)[:_NAMED])
        self.losses.append(f"{what}: {len(event_ids)} ({named})" if event_ids else what)

    def expect_none(self, what: str, event_ids: Collection[str]) -> None:
        """Count *event_ids* under *what*; any is a loss."""
        self.count(**{what: len(event_ids)})
        if event_ids:
            self.lose(what, event_ids)

    def line(self) -> str:
        """Return the report of the trial."""
        figures = ", ".join(f"{value:,} {name}" for name, value in self.figures.items())
        seconds = time.monotonic() - self._started
        verdict = "  LOSSES: " + "; ".join(self.losses[:_NAMED]) if self.losses else ""
        return f"{self.attack:8} {figures} ({seconds:.0f} s, seed {self.seed}){verdict}"
