-- The tables of an outbox in PostgreSQL. The schema is called anytrack here; the program replaces
-- that by the name which the operator chose. Running this script again changes nothing.
--
-- A conversion has two numbers. Its id is given when it is written: the number of its append call,
-- times 4,096, plus its index in the call. Its position (seq; that of a whole call is called place)
-- is given after the commit, by the function sequence_v1. Positions have no gaps, and are the order
-- in which destinations get the conversions. The table page is the only connection of the two.
--
-- Two numbers, because transactions commit in any order. Call 7 may commit after call 8; if
-- destinations went by ids, one that has passed call 8 would never look for call 7 again. With
-- positions, call 8 is first and call 7 comes behind it.

CREATE SCHEMA IF NOT EXISTS anytrack;

-- The version of the schema, and the oldest release's version whose programs work with it.
CREATE TABLE IF NOT EXISTS anytrack.format (version int NOT NULL);
ALTER TABLE anytrack.format ADD COLUMN IF NOT EXISTS oldest int NOT NULL DEFAULT 1;

-- One number for each append call of up to 4,096 conversions.
CREATE SEQUENCE IF NOT EXISTS anytrack.block;

-- The stored conversions, until every destination that needs a conversion has it.
CREATE TABLE IF NOT EXISTS anytrack.log (
    id bigint PRIMARY KEY,
    digest bytea NOT NULL,
    payload bytea NOT NULL
);

-- The event ids of stored conversions, and of those that are only remembered. The summary (type,
-- amount, currency) tells repeats from contradictions.
CREATE TABLE IF NOT EXISTS anytrack.ids (
    event_id text COLLATE "C" PRIMARY KEY,
    id bigint NOT NULL,
    summary text NOT NULL
);
CREATE INDEX IF NOT EXISTS ids_id ON anytrack.ids USING brin (id) WITH (pages_per_range = 32);

-- Append calls: written in the transaction that accepts the conversions, and given positions after
-- its commit. block is the id of the first conversion, n their number, xid the transaction.
-- recipients are the destinations that they are addressed to, null for all. large has the bytes of
-- memory of each conversion, 0 for small ones; it is null if all are small. There is no index of
-- block, which would make single appends slower by a tenth.
CREATE TABLE IF NOT EXISTS anytrack.arrival (
    block bigint NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    n int NOT NULL,
    at float8 NOT NULL,
    recipients text[],
    large int[]
);
CREATE INDEX IF NOT EXISTS arrival_xid ON anytrack.arrival (xid);

-- Append calls with positions: place is the position of the first conversion. dropped_at is when the
-- conversions were dropped, if that was before those around them.
CREATE TABLE IF NOT EXISTS anytrack.page (
    place bigint PRIMARY KEY,
    block bigint NOT NULL UNIQUE,
    n int NOT NULL,
    at float8 NOT NULL,
    recipients text[],
    large int[],
    dropped_at float8
);
CREATE INDEX IF NOT EXISTS page_special ON anytrack.page (place)
    WHERE recipients IS NOT NULL OR large IS NOT NULL;
CREATE INDEX IF NOT EXISTS page_dropped ON anytrack.page (dropped_at) WHERE dropped_at IS NOT NULL;

-- The last position that was given (upto), by which numbering (n), and the snapshot in which that
-- looked for new append calls (snap): only the newest row counts, and earlier ones are deleted. A new
-- row rather than an update: while a long transaction is open, every reader would have to go through
-- all versions of an updated row.
CREATE TABLE IF NOT EXISTS anytrack.numbering (
    upto bigint,
    n bigint,
    snap pg_snapshot NOT NULL,
    PRIMARY KEY (upto, n)
);

-- Destinations: the position after which a destination started, and how many of its conversions wait
-- for a retry (pending), are dead, or were discarded. since is when it was registered, if it started
-- at the beginning of the log; inherited counts the retries that it then got. The row changes only
-- when exceptions are added or end.
CREATE TABLE IF NOT EXISTS anytrack.destination (
    name text COLLATE "C" PRIMARY KEY,
    start bigint NOT NULL,
    since float8,
    inherited bigint NOT NULL DEFAULT 0,
    pending bigint NOT NULL DEFAULT 0,
    dead bigint NOT NULL DEFAULT 0,
    discarded bigint NOT NULL DEFAULT 0
);

-- The cursor of each destination: only the row with the greatest cursor counts, as in numbering.
-- skipped counts the conversions before the cursor that are addressed to others. No lease ends before
-- floor, which the last claim has set to the end of the first lease: so a search for the first lease
-- begins there, and does not go through all deleted ones.
CREATE TABLE IF NOT EXISTS anytrack.progress (
    destination text COLLATE "C",
    cursor bigint,
    floor float8 NOT NULL,
    skipped bigint NOT NULL,
    PRIMARY KEY (destination, cursor)
);

-- Leases: the right of a worker to some conversions until a time. Ids are random, because after a
-- crash, PostgreSQL may give a number of a sequence again, so that a late worker could end the lease
-- of another one. owner is the outbox object that holds the lease; alone is 1 for an isolated
-- conversion, 2 if it is on its last attempt, else 0.
CREATE TABLE IF NOT EXISTS anytrack.lease (
    id bigint PRIMARY KEY,
    destination text COLLATE "C" NOT NULL,
    until float8 NOT NULL,
    owner bigint NOT NULL,
    alone int NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS lease_until ON anytrack.lease (destination, until);
CREATE INDEX IF NOT EXISTS lease_alone ON anytrack.lease (owner) WHERE alone > 0;

-- Ranges of positions up to a cursor that are not settled: leased, or released until due. size counts
-- the conversions in a range that are addressed to the destination, lost its leases that ended without
-- a result.
CREATE TABLE IF NOT EXISTS anytrack.span (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    destination text COLLATE "C" NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    size int NOT NULL,
    attempts int NOT NULL DEFAULT 0,
    lost int NOT NULL DEFAULT 0,
    due float8 NOT NULL DEFAULT 0,
    lease bigint NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS span_first ON anytrack.span (destination, first);
CREATE INDEX IF NOT EXISTS span_lease ON anytrack.span (lease) WHERE lease <> 0;
CREATE INDEX IF NOT EXISTS span_due ON anytrack.span (destination, due, first)
    WHERE lease = 0 AND lost < 2;
CREATE INDEX IF NOT EXISTS span_isolated ON anytrack.span (destination, due, first)
    WHERE lease = 0 AND lost >= 2;

-- Exceptions: single conversions up to a cursor that wait for a retry, or are dead letters (due is
-- null). at is when the last attempt failed, bytes the memory of a large conversion, else 0.
CREATE TABLE IF NOT EXISTS anytrack.exception (
    seq bigint NOT NULL,
    destination text COLLATE "C" NOT NULL,
    attempts int NOT NULL,
    due float8,
    error text NOT NULL,
    code text,
    at float8 NOT NULL,
    bytes int NOT NULL,
    lost int NOT NULL DEFAULT 0,
    lease bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (seq, destination)
);
CREATE INDEX IF NOT EXISTS exception_due ON anytrack.exception (destination, due, seq)
    WHERE due IS NOT NULL AND lease = 0 AND lost < 2;
CREATE INDEX IF NOT EXISTS exception_isolated ON anytrack.exception (destination, due, seq)
    WHERE due IS NOT NULL AND lease = 0 AND lost >= 2;
CREATE INDEX IF NOT EXISTS exception_dead ON anytrack.exception (destination, seq)
    WHERE due IS NULL;
CREATE INDEX IF NOT EXISTS exception_lease ON anytrack.exception (lease) WHERE lease <> 0;

-- Dead letters that were discarded, as long as their event ids are remembered.
CREATE TABLE IF NOT EXISTS anytrack.discarded (
    seq bigint NOT NULL,
    destination text COLLATE "C" NOT NULL,
    attempts int NOT NULL,
    error text NOT NULL,
    code text,
    PRIMARY KEY (seq, destination)
);

-- The ids that destinations gave to delivered conversions, as long as one of their event ids is
-- remembered: a row has those of up to 32 consecutive positions.
CREATE TABLE IF NOT EXISTS anytrack.remote_ids (
    destination text COLLATE "C" NOT NULL,
    last bigint NOT NULL,
    first bigint NOT NULL,
    packed bytea NOT NULL,
    PRIMARY KEY (destination, last)
);

-- Small values by name: how far a long job, such as a back-fill, has come, or that a destination is
-- paused.
CREATE TABLE IF NOT EXISTS anytrack.checkpoint (name text COLLATE "C" PRIMARY KEY, value bytea NOT NULL);

-- Retention: up to which position conversions were dropped (pruned), and their event ids forgotten.
CREATE TABLE IF NOT EXISTS anytrack.retention (
    pruned bigint NOT NULL DEFAULT 0,
    forgotten bigint NOT NULL DEFAULT 0
);
-- When conversions were dropped: those after the previous row's position up to this one's.
CREATE TABLE IF NOT EXISTS anytrack.dropped (upto bigint PRIMARY KEY, at float8 NOT NULL);
-- Positions at which an exception ended, so that retention looks at the conversion again.
CREATE TABLE IF NOT EXISTS anytrack.reclaimable (seq bigint PRIMARY KEY);
-- Conversions that were dropped later than those around them.
CREATE TABLE IF NOT EXISTS anytrack.late (seq bigint PRIMARY KEY, at float8 NOT NULL);
CREATE INDEX IF NOT EXISTS late_at ON anytrack.late (at);

INSERT INTO anytrack.retention (pruned) SELECT 0 WHERE NOT EXISTS (SELECT FROM anytrack.retention);
INSERT INTO anytrack.numbering SELECT 0, 0, pg_current_snapshot()
    WHERE NOT EXISTS (SELECT FROM anytrack.numbering);
