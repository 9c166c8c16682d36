"""The tables of an outbox file, and the statements that bring those of earlier releases up to date.

A position in the log is called ``seq``, and a lease of 0 means "not leased":

* ``log``: the accepted conversions, in order, until every destination that needs a conversion has
  it. ``destinations`` is NULL for all, else each name between two line breaks.
* ``ids``: the event id of every conversion in the log, and of those that are only remembered. The
  newest row is never deleted, so that ``max(seq)`` is always the end of the log. ``summary`` finds
  contradictions; it is NULL for ids that format version 1 remembered. ``late`` is NULL, or when the
  payload was dropped, if that was not together with its neighbours.
* ``dropped``: when payloads were dropped: those after the ``upto`` of the previous row, up to this
  one. A row for hundreds of conversions needs less space than a time in each of them.
* ``pruned``: the position up to which payloads have been dropped (``upto``), and up to which their
  ids have been forgotten, except late ones (``forgotten``).
* ``loose``: the reclaimable positions. These were already pruned past, but an exception kept their
  payload, which can be dropped now.
* ``destination``: its cursor; where it started (``start``, and ``since`` if it started at the
  beginning of the log, with ``inherited`` exceptions); and how many conversions it has received, it
  has skipped, wait for a retry, are dead or were discarded. So no query has to count rows, and a
  damaged cursor is found: the positions between ``start`` and the cursor are these, and those in
  spans. Up to ``swept``, conversions for single destinations were looked at after this one got
  them.
* ``owner``: the outbox objects that have the file open, or closed it with leases left; see
  `owners`.
* ``lease``: the right to work on some conversions until a moment. Ids are never reused, because a
  late worker must not end the lease of another. ``owner`` is 0 if the holder of the lease cannot
  prove that it is alive; ``alone`` is 1 for an isolated conversion, 2 if that makes its last
  attempt.
* ``span``: ranges behind a cursor that are not settled: leased, or released until ``due``.
  ``size`` counts the conversions in it that are addressed to the destination. ``lost`` counts the
  leases that ended without a result; conversions that lost two are isolated.
* ``exception``: single conversions behind a cursor that wait for a retry, or are dead letters
  (``due`` is NULL). ``settled`` is when a conversion failed last, ``at`` the date of that moment.
* ``discarded``: dead letters that were given up for good, as long as their ids are remembered.
* ``remote_ids``: the ids that destinations gave to delivered conversions, up to 32 of consecutive
  positions in a row, see `storage.pack_ids`, as long as one of their event ids is remembered.
* ``clock``: the clock of the file, see `clock.FileClock`: the monotonic clock of the boot with the
  id ``boot`` plus ``clock_offset``; ``seen`` is the latest recorded time. All moments in the file
  are on this clock, except ``exception.at`` and those of the history, which are dates.
* ``history_…``: what happened to conversions, see `history.tables`.
* ``checkpoints``: the progress of long jobs, see `KeepsCheckpoints`.
* ``encryption_key``: ids of the keys that rows are encrypted with, see `encryption`. An encrypted
  ``payload`` has its digest in it, and ``digest`` is its tag. An encrypted ``error`` is a BLOB.
"""

from __future__ import annotations

from anytrack_async.outbox.sqlite.history.tables import HISTORY_TABLES

FORMAT_VERSION = 4

ISOLATED_AFTER = 2
"""Lost leases after which a conversion may end the process that sends it."""

_CLOCK = """
CREATE TABLE clock (boot TEXT NOT NULL, clock_offset REAL NOT NULL, seen REAL);
INSERT INTO clock VALUES ('', 0, NULL);
"""

# A remembered id takes some 115 bytes if it is a UUID, and 60 if it is as short as "sale:100123":
# half in the table, half in the index that finds it. The id that a destination gave adds 18 bytes
# if it is a UUID, and twice as many if each conversion was settled alone.
_LOG = """
CREATE TABLE ids (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    summary TEXT,
    destinations TEXT,
    late REAL
);
CREATE INDEX ids_late ON ids(late) WHERE late IS NOT NULL;
CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    destinations TEXT,
    digest BLOB NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE remote_ids (
    destination TEXT NOT NULL,
    last INTEGER NOT NULL,
    first INTEGER NOT NULL,
    packed BLOB NOT NULL,
    PRIMARY KEY (destination, last)
) WITHOUT ROWID;
CREATE TABLE dropped (upto INTEGER PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE checkpoints (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE encryption_key (id TEXT PRIMARY KEY, retiring INTEGER NOT NULL DEFAULT 0)
    WITHOUT ROWID;
"""

_DISCARDED = """
CREATE TABLE discarded (
    seq INTEGER NOT NULL,
    destination TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    error TEXT NOT NULL,
    code TEXT,
    PRIMARY KEY (seq, destination)
) WITHOUT ROWID;
"""

# Conversions that may be claimed together, and isolated ones, each in the order of their due times.
_SPAN_INDEXES = f"""
CREATE INDEX span_due ON span(destination, due, first) WHERE lease = 0 AND lost < {ISOLATED_AFTER};
CREATE INDEX span_isolated ON span(destination, due, first)
    WHERE lease = 0 AND lost >= {ISOLATED_AFTER};
"""
_RETRY_INDEXES = f"""
CREATE INDEX exception_due ON exception(destination, due, seq)
    WHERE due IS NOT NULL AND lease = 0 AND lost < {ISOLATED_AFTER};
CREATE INDEX exception_isolated ON exception(destination, due, seq)
    WHERE due IS NOT NULL AND lease = 0 AND lost >= {ISOLATED_AFTER};
"""

# Dead letters of one code among 100,000 others. With ``due``, counting them reads nothing else.
_CODE_INDEX = """
CREATE INDEX exception_code ON exception(destination, code, due, seq) WHERE due IS NULL;
"""

TABLES = f"""
{_LOG}
CREATE TABLE destination (
    name TEXT PRIMARY KEY,
    start INTEGER NOT NULL,
    since REAL,
    cursor INTEGER NOT NULL,
    pending INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    inherited INTEGER NOT NULL DEFAULT 0,
    discarded INTEGER NOT NULL DEFAULT 0,
    swept INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE lease (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT NOT NULL,
    until REAL NOT NULL,
    owner INTEGER NOT NULL DEFAULT 0,
    alone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX lease_until ON lease(destination, until);
CREATE INDEX lease_owner ON lease(owner);
CREATE TABLE owner (id INTEGER PRIMARY KEY, closed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE span (
    id INTEGER PRIMARY KEY,
    destination TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    size INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    lease INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX span_first ON span(destination, first);
CREATE INDEX span_lease ON span(lease);
{_SPAN_INDEXES}
CREATE TABLE exception (
    seq INTEGER NOT NULL,
    destination TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due REAL,
    error TEXT NOT NULL,
    code TEXT,
    lease INTEGER NOT NULL DEFAULT 0,
    at REAL NOT NULL,
    lost INTEGER NOT NULL DEFAULT 0,
    settled REAL,
    PRIMARY KEY (seq, destination)
) WITHOUT ROWID;
{_RETRY_INDEXES}
CREATE INDEX exception_dead ON exception(destination, seq) WHERE due IS NULL;
{_CODE_INDEX}
CREATE INDEX exception_lease ON exception(lease) WHERE lease <> 0;
CREATE TABLE loose (seq INTEGER PRIMARY KEY);
CREATE TABLE pruned (upto INTEGER NOT NULL, forgotten INTEGER NOT NULL DEFAULT 0);
INSERT INTO pruned VALUES (0, 0);
{_CLOCK}
{_DISCARDED}
{HISTORY_TABLES}
"""  # noqa: S608

# Upgrading

SUMMARY_OF = "summary_of"
"""SQL function of a payload and its digest: the conversion's summary, NULL if it is not known."""

# Format version → the statements that make a file of that version one of the next.
UPGRADES = {
    1: f"""
ALTER TABLE log ADD COLUMN summary TEXT;
ALTER TABLE destination ADD COLUMN delivered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE destination ADD COLUMN skipped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE destination ADD COLUMN inherited INTEGER NOT NULL DEFAULT 0;
UPDATE destination SET delivered = cursor - start - pending - dead
    - (SELECT coalesce(sum(size), 0) FROM span WHERE destination = name);
ALTER TABLE lease ADD COLUMN owner INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lease ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;
CREATE INDEX lease_owner ON lease(owner);
CREATE TABLE owner (id INTEGER PRIMARY KEY, closed INTEGER NOT NULL DEFAULT 0);
ALTER TABLE span ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
{_SPAN_INDEXES}
ALTER TABLE exception ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
DROP INDEX exception_due;
{_RETRY_INDEXES}
{_CLOCK}
""",  # noqa: S608
    # ``log`` had the ids too; without a payload, ``at`` was when it was dropped. Its index has to
    # be dropped with it, as the new table has none of that name.
    2: f"""
ALTER TABLE log RENAME TO old_log;
DROP INDEX log_pruned;
{_LOG}
INSERT INTO ids (seq, event_id, summary, destinations, late)
    SELECT seq, event_id, coalesce(summary, {SUMMARY_OF}(payload, digest)), destinations,
    CASE WHEN payload IS NULL THEN at END FROM old_log ORDER BY seq;
INSERT INTO log (seq, at, destinations, digest, payload)
    SELECT seq, at, destinations, digest, payload FROM old_log
    WHERE payload IS NOT NULL ORDER BY seq;
DROP TABLE old_log;
{_DISCARDED}
ALTER TABLE exception ADD COLUMN settled REAL;
ALTER TABLE destination ADD COLUMN discarded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE destination ADD COLUMN swept INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pruned ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
UPDATE pruned SET forgotten = upto;
""",  # noqa: S608
    # An index that nothing used any more, and that only some files have.
    3: f"""
DROP INDEX IF EXISTS log_addressed;
{_CODE_INDEX}
{HISTORY_TABLES}
""",
}
