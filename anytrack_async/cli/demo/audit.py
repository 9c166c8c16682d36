"""Whether everything is accounted for, and both sides agree: decided here, shown elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import attrs

from anytrack_async.cli.demo.backfill import Kept
from anytrack_async.cli.demo.tally import Tally

_NAMED = 3


@attrs.frozen(kw_only=True)
class Rejection:
    """A line that did not reach every service, and why.

    Attributes:
        lines: in which lines of the file it is.
        event_id: the conversion's, or its order's; None where none could be read.
        where: who did not take it.
        reason: why, in their words.
    """

    lines: tuple[int, ...]
    event_id: str | None
    where: str
    reason: str


@attrs.frozen(kw_only=True)
class Account:
    """One service: our count beside its own.

    Attributes:
        name: which service.
        delivered: conversions that we call delivered.
        dead: dead letters.
        rate: conversions delivered a second.
        requests: what the service's ledger counted.
        unique: different conversions in the service's ledger.
        duplicates: conversions that came to the service again, and that it dropped.
        faults: what went wrong in the service on purpose.
    """

    name: str
    delivered: int
    dead: int
    rate: float
    requests: int
    unique: int
    duplicates: int
    faults: int


@attrs.frozen(kw_only=True)
class Audit:
    """What came of every line.

    Attributes:
        accounts: one per service.
        rejections: by line.
        problems: what is unaccounted for or disagrees; empty is good.
    """

    accounts: tuple[Account, ...]
    rejections: tuple[Rejection, ...]
    problems: tuple[str, ...]


def audit(tally: Tally, kept: Kept, ledger: Mapping[str, Mapping[str, Any]]) -> Audit:
    """Return what came of every line, and whether each *ledger* page says the same.

    Args:
        tally: what was counted on the way.
        kept: what the outbox has in the end.
        ledger: service → what it says it was sent and took, with event ids.
    """
    return Audit(
        accounts=tuple(_account(name, tally, kept, ledger[name]) for name in tally.services),
        rejections=_sorted(_rejections(tally, kept), ("reading", "outbox", *tally.services)),
        problems=tuple(_problems(tally, kept, ledger)),
    )


def _problems(tally: Tally, kept: Kept, ledger: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield from _lines(tally)
    for name in tally.services:
        yield from _service(name, tally, kept)
        yield from _ledger(name, tally, ledger[name])


def _sorted(found: Iterable[Rejection], places: Sequence[str]) -> tuple[Rejection, ...]:
    return tuple(sorted(found, key=lambda one: (places.index(one.where), one.lines)))


def _account(name: str, tally: Tally, kept: Kept, page: Mapping[str, Any]) -> Account:
    service, stats = tally.services[name], kept.stats.destinations[name]
    return Account(
        name=name,
        delivered=stats.delivered,
        dead=stats.dead,
        rate=stats.delivered / service.busy if service.busy else 0.0,
        requests=page["requests"],
        unique=page["unique"],
        duplicates=page["duplicates"],
        faults=sum(page["faults"].values()),
    )


def _rejections(tally: Tally, kept: Kept) -> Iterator[Rejection]:
    for fault in tally.faults:
        yield Rejection(
            lines=(fault.line,), event_id=fault.order_id, where="reading", reason=fault.reason
        )
    for line, event_id in tally.conflicts.items():
        reason = "its event id came before with other content, which stands"
        yield Rejection(lines=(line,), event_id=event_id, where="outbox", reason=reason)
    for letter in kept.dead:
        event_id = letter.conversion.event_id
        lines = tuple(n for n in tally.numbers.get(event_id, ()) if n not in tally.conflicts)
        yield Rejection(
            lines=lines, event_id=event_id, where=letter.destination, reason=letter.error
        )


def _lines(tally: Tally) -> Iterator[str]:
    told = tally.reports + len(tally.faults)
    if tally.lines != tally.size or told != tally.size:
        yield f"of {tally.size} lines, {tally.lines} were read and {told} are accounted for"
    if tally.refused != len(tally.conflicts):
        yield f"{tally.refused} conflicts were reported, {len(tally.conflicts)} are in the file"
    if tally.unfinished:
        yield f"neither delivered nor dead: {_some(set(tally.unfinished))}"


def _service(name: str, tally: Tally, kept: Kept) -> Iterator[str]:
    delivered = tally.services[name].delivered
    dead = {one.conversion.event_id for one in kept.dead if one.destination == name and one.error}
    if missing := tally.numbers.keys() - delivered - dead:
        yield f"{name}: neither delivered nor in the dead letters: {_some(missing)}"
    if both := delivered & dead:
        yield f"{name}: delivered and in the dead letters: {_some(both)}"
    stats = kept.stats.destinations[name]
    if (stats.delivered, stats.dead) != (len(delivered), len(dead)):
        yield (
            f"{name}: the client counts {stats.delivered} delivered and {stats.dead} dead, "
            f"its observer {len(delivered)} and {len(dead)}"
        )


def _ledger(name: str, tally: Tally, page: Mapping[str, Any]) -> Iterator[str]:
    ours = tally.services[name].delivered
    # Its ids come from a header, which carries ASCII only.
    theirs = {unquote(one) if name == "anytrack" else one for one in page["ids"]}
    if page["unique"] != len(ours):
        yield f"{name}: its ledger counts {page['unique']} conversions, we delivered {len(ours)}"
    if lost := ours - theirs:
        yield f"{name}: we call it delivered, its ledger does not have it: {_some(lost)}"
    if extra := theirs - ours:
        yield f"{name}: its ledger has it, we do not call it delivered: {_some(extra)}"


def _some(event_ids: set[str]) -> str:
    more = len(event_ids) - _NAMED
    return ", ".join(sorted(event_ids)[:_NAMED]) + (f" and {more} more" if more > 0 else "")
