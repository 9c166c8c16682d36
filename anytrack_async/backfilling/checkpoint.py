"""The checkpoint of a back-fill: the row at which an interrupted run continues.

A checkpoint is stored in the outbox, beside the accepted conversions, and is bound to the content
of the files. Conversions may have been accepted after the last checkpoint: then their rows are read
again, and the outbox recognises the repeats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs
import orjson

from anytrack_async._version import __version__
from anytrack_async.backfilling.blocks import Position
from anytrack_async.backfilling.files import Fingerprint, has_content
from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.backfilling.sources import Source, expand_sources
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.capabilities import KeepsCheckpoints

_VERSION = 1


@attrs.frozen(kw_only=True)
class Checkpoint:
    """The state of a run after some of its rows.

    Attributes:
        position: the place at which reading continues.
        rows: number of rows read up to the position.
        prints: fingerprint of each source up to the position, in order.
        rejects: path of the rejects file; None if there is none.
        rejects_length: length of the rejects file in bytes.
        finished: whether all rows were read.
        counts: rows up to there, see `RowCounts`.
        dead_before: destination → dead letters that the outbox had before the first run.
    """

    position: Position
    rows: int
    prints: Sequence[Fingerprint] = ()
    rejects: str | None = None
    rejects_length: int = 0
    finished: bool = False
    counts: Mapping[str, Any] = attrs.field(factory=dict)
    dead_before: Mapping[str, int] = attrs.field(factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether every byte of every file was read, and no row was rejected."""
        return (
            self.finished
            and self.counts.get("rejected") == 0
            and all(fingerprint.read == fingerprint.size for fingerprint in self.prints)
        )

    def to_bytes(self) -> bytes:
        """Return it as the outbox keeps it."""
        return orjson.dumps({"version": _VERSION, **attrs.asdict(self)})

    @classmethod
    def from_bytes(cls, value: bytes) -> Checkpoint | None:
        """Return the checkpoint that `to_bytes` wrote; None for any other bytes."""
        try:
            fields: dict[str, Any] = orjson.loads(value)
            if fields.pop("version") != _VERSION:
                return None
            fields["position"] = Position(**fields["position"])
            fields["prints"] = tuple(Fingerprint(**item) for item in fields["prints"])
            return cls(**fields)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return None


# They change neither the conversions nor their destinations.
_IRRELEVANT = (
    *("resume", "rejects", "max_rejects", "rate", "wait", "dry_run", "duplicates", "limit"),
    "advice",
)


def checkpoint_name(
    source: Source, settings: BackfillSettings, *, preset: str | None, mapping: FileMapping | None
) -> str | None:
    """Return the name under which the outbox keeps the checkpoint of a run; blocks.

    Runs over the same paths, which make the same conversions for the same destinations, have the
    same name. A preset may change with a release of this library, so its version counts.

    Returns:
        None if the source cannot be read from the middle: a query, or standard input.
    """
    sources = expand_sources(source)
    paths = [path for path in sources if isinstance(path, str) and path != "-"]
    if len(paths) < len(sources):
        return None
    identity = {
        "paths": [str(Path(path).absolute()) for path in paths],
        "preset": preset,
        "mapping": attrs.asdict(mapping) if mapping else None,
        "settings": attrs.asdict(settings, filter=lambda field, _: field.name not in _IRRELEVANT),
        "version": __version__,
    }
    text = orjson.dumps(identity, default=_plain, option=orjson.OPT_SORT_KEYS)
    return f"backfill:{sha256(text).hexdigest()}"


def _plain(value: object) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    return getattr(value, "__qualname__", str(value))  # a function of a mapping


def changed_file(checkpoint: Checkpoint, source: Source) -> str | None:
    """Return the name of the first file that has changed since *checkpoint*; None if none has.

    Reads the part of the files that was read before the checkpoint; blocks.
    """
    for path, fingerprint in zip(expand_sources(source), checkpoint.prints, strict=False):
        if isinstance(path, str) and not has_content(path, fingerprint):
            return Path(path).name
    return None


def keeper(outbox: Outbox) -> KeepsCheckpoints | None:
    """Return *outbox* if it can keep checkpoints."""
    return outbox if isinstance(outbox, KeepsCheckpoints) else None
