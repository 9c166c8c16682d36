"""The calls of the functions in the database, by name; `schema.in_schema` puts in the schema.

The functions are defined and explained in the folder ``sql``.
"""

from __future__ import annotations

from typing import NamedTuple

from anytrack_async.outbox.postgres.append import APPEND_OR_GIVE_UP

# Destinations

REGISTER = "SELECT anytrack.register_v1($1::text[], $2::text[], $3::float8)"
FORGET = "SELECT anytrack.forget_v1($1)"
DESTINATION_NAMES = "SELECT name FROM anytrack.destination ORDER BY name"
DEPTHS = "SELECT * FROM anytrack.depths_v1($1::float8)"
OLDEST = "SELECT * FROM anytrack.oldest_v1($1::float8)"

# Claims

CLAIM = """SELECT * FROM anytrack.claim_v1(
    $1, $2::bigint, $3::int, $4::float8, $5::bigint, $6::bigint, $7::int, $8::float8)"""
SETTLE = "SELECT anytrack.settle_v2($1, $2::bigint, $3::float8) AS ended"
SETTLE_FAILED = """SELECT anytrack.settle_failed_v2($1, $2::bigint, $3::bigint[], $4::int[],
    $5::float8[], $6::text[], $7::text[], $8::int[], $9::bigint[], $10::bigint[], $11::bytea[],
    $12::float8, $13::float8) AS ended"""
RENEW = "SELECT anytrack.renew_v1($1, $2::bigint, $3::float8, $4::float8)"
RELEASE = """SELECT anytrack.release_v1(
    $1, $2::bigint, $3::float8, $4::int, $5::float8, $6::float8)"""

RELEASE_FAILED = """SELECT anytrack.release_v2($1, $2::bigint, $3::float8, $4::int, $5::float8,
    $6::float8, $7::bigint[], $8::bigint[], $9::int[], $10::text[], $11, $12::int)"""

# The records in some ranges of positions; their order is not specified.


class ReadStatements(NamedTuple):
    """Statements that read the same columns.

    Attributes:
        one: of one range, as nearly all claims are; it takes less than several. For connections
            with the settings of the outbox.
        several: of some ranges, on such connections.
        anywhere: of some ranges, on any connection; slower.
    """

    one: str
    several: str
    anywhere: str


# A page describes conversions with consecutive ids and positions: the first has the id `block` and
# the position `place`, and there are `n`. With block 8,192, place 4,001 and n 20, the positions
# 4,010 to 4,015 are the ids 8,201 to 8,206; a range that begins before the page or ends after it is
# cut to the page by `greatest` and `least`.
RECORDS = ReadStatements(
    one="""SELECT page.place + log.id - page.block AS seq, page.at, log.digest, log.payload
        FROM anytrack.page JOIN anytrack.log ON log.id
            BETWEEN page.block + greatest($1::bigint - page.place, 0)
            AND page.block + least($2::bigint - page.place, page.n - 1)
        WHERE page.place <= $2 AND page.place >= (
                SELECT place FROM anytrack.page WHERE place <= $1 ORDER BY place DESC LIMIT 1)
            AND (page.recipients IS NULL OR $3::text = ANY (page.recipients))""",
    several="""SELECT page.place + log.id - page.block AS seq, page.at, log.digest, log.payload
        FROM unnest($1::bigint[], $2::bigint[]) AS claimed (first, last)
        JOIN anytrack.page ON page.place <= claimed.last AND page.place >= (SELECT place
            FROM anytrack.page WHERE place <= claimed.first ORDER BY place DESC LIMIT 1)
        JOIN anytrack.log ON log.id
            BETWEEN page.block + greatest(claimed.first - page.place, 0)
            AND page.block + least(claimed.last - page.place, page.n - 1)
        WHERE page.recipients IS NULL OR $3 = ANY (page.recipients)""",
    anywhere="SELECT seq, at, digest, payload "
    "FROM anytrack.read_v1($1::bigint[], $2::bigint[], $3)",
)
"""Positions, times, digests and records: the program decodes the first while the rest comes."""

DIGESTS = ReadStatements(
    *(
        f"""SELECT array_agg(seq), array_agg(at), array_agg(digest)
        FROM ({sql.replace(", log.payload", "")}) AS found"""  # noqa: S608 (a constant)
        for sql in RECORDS
    )
)
"""Positions, times and digests, as columns in one row: rows would cost twice as much."""

# Reports

REPORTS = "SELECT * FROM anytrack.reports_v2($1::text[])"
UNDELIVERED = "SELECT * FROM anytrack.undelivered_v1($1, $2::bigint)"
SEQUENCE = "SELECT anytrack.sequence_v1()"

# Dead letters

DEAD = "SELECT * FROM anytrack.dead_v1($1, $2::bigint, $3::bigint)"
DEAD_OF = "SELECT * FROM anytrack.dead_of_v1($1::text[])"
LETTERS = "SELECT * FROM anytrack.letters_v1($1::bigint[], $2::text[], $3::bigint)"
REPLAY = "SELECT anytrack.replay_v1($1, $2::bigint[], $3::float8)"
DISCARD = "SELECT anytrack.discard_v1($1, $2::bigint[])"
CORRECT = "SELECT anytrack.correct_v1($1, $2, $3::bytea, $4::bytea, $5::int, $6::float8)"
NOW = "SELECT anytrack.now_v1($1::float8)"

# The history

_COUNT_TYPES = (
    *("bigint", "text", "text", "text", "text", "bigint", "text"),
    *("bigint", "text", "text", "text", "bigint", "float8"),
)


def _count(first: int) -> str:
    """Return the call that adds counts; its parameters are numbered from *first*."""
    parameters = (f"${number}::{kind}[]" for number, kind in enumerate(_COUNT_TYPES, first))
    return f"anytrack.count_v1({', '.join(parameters)})"


COUNT = f"""SELECT {_count(1)}
    FROM (SELECT set_config('synchronous_commit', 'off', true) OFFSET 0) AS setting"""  # noqa: S608
COUNT_AND_SAVE = f"""WITH saved AS (
        INSERT INTO anytrack.checkpoint (name, value) VALUES ($14, $15)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value RETURNING 1)
    SELECT {_count(1)} FROM saved"""  # noqa: S608
AND_COUNT = {
    SETTLE: f"SELECT ended, CASE WHEN ended THEN {_count(4)} END FROM ({SETTLE}) AS s",  # noqa: S608
    SETTLE_FAILED: f"""SELECT ended, CASE WHEN ended THEN {_count(14)} END
        FROM ({SETTLE_FAILED}) AS s""",  # noqa: S608
}
APPEND_AND_COUNT = f"""SELECT added, first_summaries, CASE WHEN first_summaries IS NULL
    THEN {_count(9)} END FROM ({APPEND_OR_GIVE_UP}) AS appended"""  # noqa: S608

OUTCOMES = "SELECT * FROM anytrack.outcomes_v1($1::float8, $2::float8, $3)"
MERGE = "SELECT anytrack.merge_v1()"
ACCEPTED_COUNTS = "SELECT * FROM anytrack.accepted_counts_v1($1::float8, $2::float8)"
ATTEMPTS = "SELECT * FROM anytrack.attempts_v1($1)"
ADD_ATTEMPTS = """SELECT anytrack.add_attempts_v1($1::bigint[], $2::text[], $3::float8[], $4::int[],
    $5::text[], $6::text[], $7::int[], $8::text[], $9::float8[])"""
POSITIONS = "SELECT event_id, seq FROM anytrack.records_v1($1::text[]) WHERE seq IS NOT NULL"
DELIVERED_AT = "SELECT * FROM anytrack.delivered_at_v1($1)"
REMEMBERED = "SELECT * FROM anytrack.remembered_v1($1::text[])"
NEWEST = "SELECT * FROM anytrack.newest_v1($1::bigint, $2::int, $3::bigint)"
SEARCH = "SELECT * FROM anytrack.search_v1($1::bigint, $2::int, $3::bigint, $4::bytea[])"

# Keys

LISTED_KEYS = "SELECT id FROM anytrack.encryption_key"
LIST_KEY = "SELECT anytrack.list_key_v1($1)"
KEY_USAGE = "SELECT * FROM anytrack.key_usage_v1()"
RETIRE_KEYS = "SELECT anytrack.retire_keys_v1($1)"
IS_OLDEST = "SELECT pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8"
KEEP_KEY = "UPDATE anytrack.encryption_key SET is_retiring = false WHERE id = $1"
REMOVE_RETIRING_KEYS = "DELETE FROM anytrack.encryption_key WHERE is_retiring"
SET_RECORDS = """UPDATE anytrack.log SET payload = new.payload, digest = new.digest
    FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[])
        AS new (id, old, payload, digest)
    WHERE log.id = new.id AND log.digest = new.old RETURNING log.id"""

_ERRORS_OF = """SELECT {key} AS key, destination, {seq} AS seq, error FROM anytrack.{table}
    WHERE error <> '' AND ({key}, destination) > ($1::bigint, $2::text)
    ORDER BY {key}, destination LIMIT $3"""
_SET_ERRORS_OF = """UPDATE anytrack.{table} AS stored SET error = new.error
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[])
        AS new (key, destination, old, error)
    WHERE stored.{key} = new.key AND stored.destination = new.destination
        AND stored.error = new.old RETURNING 1"""
ERRORS = tuple(
    (
        _ERRORS_OF.format(table=table, key=key, seq=seq),
        _SET_ERRORS_OF.format(table=table, key=key),
    )
    for table, key, seq in (
        ("exception", "seq", "seq"),
        ("discarded", "seq", "seq"),
        ("history_attempts", "id", "last"),
    )
)
"""The statements that read the reasons of failures in each table, and that replace some."""

# Retention

PRUNE = "SELECT * FROM anytrack.prune_v2($1::int, $2::float8, $3::float8, $4::float8)"

# Checkpoints

CHECKPOINT = "SELECT value FROM anytrack.checkpoint WHERE name = $1"
SAVE_CHECKPOINT = """INSERT INTO anytrack.checkpoint (name, value) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value"""
DELETE_CHECKPOINT = "DELETE FROM anytrack.checkpoint WHERE name = $1"

# Reading everything

STORED = "SELECT * FROM anytrack.stored_v1($1::bigint, $2::int, $3::bigint)"
STORED_AT = "SELECT payload, digest FROM anytrack.log WHERE id = $1"
ERASE = "SELECT * FROM anytrack.erase_v1($1::bigint, $2::bytea, $3::bytea, $4::bytea, $5::int)"
ACCEPTED = """SELECT * FROM anytrack.accepted_v1(
    $1::float8, $2::float8, $3::bigint, $4::bigint)"""
FORGOTTEN = "SELECT forgotten FROM anytrack.retention"
SUMMARIES = "SELECT event_id, summary FROM anytrack.ids WHERE event_id = ANY ($1::text[])"
DISCARDED = "SELECT name, discarded FROM anytrack.destination"
IDS_BETWEEN = "SELECT id, event_id FROM anytrack.ids WHERE id BETWEEN $1::bigint AND $2::bigint"
VERIFY = "SELECT problem FROM anytrack.verify_v1()"

# Notices between processes

NOTIFY = "SELECT pg_notify($1, $2)"
