"""The calls of the functions in the database, by name; `schema.in_schema` puts in the schema.

What the functions do is explained where they are defined, in the folder ``sql``.
"""

from __future__ import annotations

# Destinations

REGISTER = "SELECT anytrack.register_v1($1::text[], $2::text[], $3::float8)"
FORGET = "SELECT anytrack.forget_v1($1)"
DESTINATION_NAMES = "SELECT name FROM anytrack.destination ORDER BY name"
DEPTHS = "SELECT * FROM anytrack.depths_v1($1::float8)"
OLDEST = "SELECT * FROM anytrack.oldest_v1($1::float8)"

# Claims

CLAIM = """SELECT * FROM anytrack.claim_v1(
    $1, $2::bigint, $3::int, $4::float8, $5::bigint, $6::bigint, $7::int, $8::float8)"""
SETTLE = "SELECT anytrack.settle_v1($1, $2::bigint)"
SETTLE_FAILED = """SELECT anytrack.settle_failed_v1($1, $2::bigint, $3::bigint[], $4::int[],
    $5::float8[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::bytea[],
    $11::float8, $12::float8)"""
RENEW = "SELECT anytrack.renew_v1($1, $2::bigint, $3::float8, $4::float8)"
RELEASE = """SELECT anytrack.release_v1(
    $1, $2::bigint, $3::float8, $4::int, $5::float8, $6::float8)"""

# The records in a range of positions, and in some ranges; faster than the function, on connections
# with the right settings. Nearly all claims are of one range, and this takes less than several.
READ_ONE = """SELECT page.place + log.id - page.block, page.at, log.payload, log.digest
    FROM anytrack.page JOIN anytrack.log ON log.id
        BETWEEN page.block + greatest($1::bigint - page.place, 0)
        AND page.block + least($2::bigint - page.place, page.n - 1)
    WHERE page.place <= $2 AND page.place >= (
            SELECT place FROM anytrack.page WHERE place <= $1 ORDER BY place DESC LIMIT 1)
        AND (page.recipients IS NULL OR $3::text = ANY (page.recipients))"""
READ = """SELECT page.place + log.id - page.block, page.at, log.payload, log.digest
    FROM unnest($1::bigint[], $2::bigint[]) AS claimed (first, last)
    JOIN anytrack.page ON page.place <= claimed.last AND page.place >= (
        SELECT place FROM anytrack.page WHERE place <= claimed.first ORDER BY place DESC LIMIT 1)
    JOIN anytrack.log ON log.id
        BETWEEN page.block + greatest(claimed.first - page.place, 0)
        AND page.block + least(claimed.last - page.place, page.n - 1)
    WHERE page.recipients IS NULL OR $3 = ANY (page.recipients)"""
READ_ANYWHERE = "SELECT * FROM anytrack.read_v1($1::bigint[], $2::bigint[], $3)"

# Reports

REPORTS = "SELECT * FROM anytrack.reports_v1($1::text[])"
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

# Retention

PRUNE = "SELECT * FROM anytrack.prune_v1($1::int, $2::float8, $3::float8)"

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
VERIFY = "SELECT problem FROM anytrack.verify_v1()"

# Notices between processes

NOTIFY = "SELECT pg_notify($1, $2)"
