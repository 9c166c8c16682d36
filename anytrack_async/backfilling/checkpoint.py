"""The checkpoint of a back-fill: where to go on after it was interrupted.

It is kept in the outbox, beside the conversions that it speaks of, and bound to the content of the
files. It may be older than the last conversions that were accepted: their rows are read again, and
the outbox recognises them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import attrs
import orjson

from anytrack_async.backfilling.files import Fingerprint, has_content
from anytrack_async.backfilling.reading import Position
from anytrack_async.backfilling.sources import Source, expand_sources
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import KeepsCheckpoints, Outbox

_VERSION = 1


@attrs.frozen(kw_only=True)
class Checkpoint:
    """Where a run stands.

    Attributes:
        position: where reading goes on.
        rows: rows read up to there.
        prints: fingerprint of each source up to the position, in order.
        rejects: path of the rejects file; None if there is none.
        rejects_length: its length, bytes.
        finished: whether everything was read.
    """

    position: Position
    rows: int
    prints: Sequence[Fingerprint] = ()
    rejects: str | None = None
    rejects_length: int = 0
    finished: bool = False

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


def checkpoint_name(source: Source, mapping: str, to: Sequence[str] | None) -> str | None:
    """Return the name under which the outbox keeps the checkpoint of a run; blocks.

    Runs over the same paths, with the same mapping, to the same destinations have the same one.

    Returns:
        None if the source cannot be read from the middle: a query, or standard input.
    """
    sources = expand_sources(source)
    paths = [path for path in sources if isinstance(path, str) and path != "-"]
    if len(paths) < len(sources):
        return None
    identity: Mapping[str, Any] = {
        "paths": [str(Path(path).absolute()) for path in paths],
        "mapping": mapping,
        "to": sorted(to) if to is not None else None,
    }
    return f"backfill:{sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()}"


def check_content(checkpoint: Checkpoint, source: Source) -> None:
    """Check that the files are still those of *checkpoint*, by reading them; blocks.

    Raises:
        ConfigurationError: a file has changed.
    """
    for path, fingerprint in zip(expand_sources(source), checkpoint.prints, strict=False):
        if isinstance(path, str | PathLike) and not has_content(fspath(path), fingerprint):
            raise ConfigurationError(
                f"{Path(path).name} has changed since the checkpoint: run without resume; "
                "rows that were accepted before are recognised, and not sent again"
            )


def keeper(outbox: Outbox) -> KeepsCheckpoints | None:
    """Return *outbox* if it can keep checkpoints."""
    return outbox if isinstance(outbox, KeepsCheckpoints) else None
