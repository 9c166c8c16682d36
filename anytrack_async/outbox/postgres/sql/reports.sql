-- Reading: the outcomes of conversions, and stored records.

-- Return the conversions of some event ids: their positions (null if they have none yet), when they
-- were dropped if that was later than those around them, and whether they are still stored.
CREATE OR REPLACE FUNCTION anytrack.records_v1(p_event_ids text[]) RETURNS TABLE (
    event_id text, id bigint, seq bigint, recipients text[], dropped_at float8, is_stored bool
) LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT ids.event_id, ids.id, page.place + ids.id - page.block,
        CASE WHEN page.block IS NULL THEN arrival.recipients ELSE page.recipients END,
        coalesce(late.at, page.dropped_at), log.id IS NOT NULL
    FROM unnest(p_event_ids) AS wanted
    JOIN anytrack.ids ON ids.event_id = wanted COLLATE "C"
    LEFT JOIN anytrack.page ON page.block = (ids.id >> 12) << 12
    LEFT JOIN LATERAL (SELECT arrival.recipients FROM anytrack.arrival
        WHERE page.block IS NULL AND arrival.block = (ids.id >> 12) << 12) AS arrival ON true
    LEFT JOIN anytrack.late ON late.seq = page.place + ids.id - page.block
    LEFT JOIN anytrack.log ON log.id = ids.id
$$;

-- Return the outcomes of some event ids at the destinations that they concern.
--
-- A conversion concerns a destination that it is addressed to if its position is after the start of
-- the destination. A destination that was registered from the start of the log also gets earlier
-- ones that were still stored at that time, since. state is d for discarded, x for dead, w for
-- waiting, and empty for delivered. A conversion without a position, which was just committed, is
-- waiting everywhere.
CREATE OR REPLACE FUNCTION anytrack.reports_v2(p_event_ids text[]) RETURNS TABLE (
    event_id text, destination text, state text, attempts int, error text, code text,
    pack_offset bigint, packed bytea, seq bigint
) LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT r.event_id, d.name,
        CASE WHEN discarded.seq IS NOT NULL THEN 'd'
            WHEN exception.seq IS NOT NULL AND exception.due IS NULL THEN 'x'
            WHEN exception.seq IS NOT NULL OR r.seq IS NULL OR r.seq > p.cursor
                OR span.last >= r.seq THEN 'w'
            ELSE '' END,
        CASE WHEN discarded.seq IS NOT NULL THEN discarded.attempts
            WHEN exception.seq IS NOT NULL THEN exception.attempts
            WHEN span.last >= r.seq THEN span.attempts ELSE 0 END,
        coalesce(discarded.error, exception.error), coalesce(discarded.code, exception.code),
        r.seq - remote.first, remote.packed, r.seq
    FROM anytrack.records_v1(p_event_ids) AS r
    LEFT JOIN anytrack.destination AS d ON (r.recipients IS NULL OR d.name = ANY (r.recipients))
        AND (r.seq IS NULL OR r.seq > d.start OR (d.since IS NOT NULL
            AND CASE WHEN r.dropped_at IS NOT NULL THEN r.dropped_at >= d.since ELSE r.is_stored END))
    LEFT JOIN LATERAL (SELECT cursor FROM anytrack.progress WHERE progress.destination = d.name
        ORDER BY cursor DESC LIMIT 1) AS p ON true
    LEFT JOIN anytrack.discarded ON discarded.seq = r.seq AND discarded.destination = d.name
    LEFT JOIN anytrack.exception ON exception.seq = r.seq AND exception.destination = d.name
    LEFT JOIN LATERAL (SELECT span.last, span.attempts FROM anytrack.span
        WHERE span.destination = d.name AND span.first <= r.seq
        ORDER BY span.first DESC LIMIT 1) AS span ON true
    LEFT JOIN LATERAL (SELECT remote_ids.first, remote_ids.packed FROM anytrack.remote_ids
        WHERE remote_ids.destination = d.name AND remote_ids.last >= r.seq
        ORDER BY remote_ids.last LIMIT 1) AS remote ON remote.first <= r.seq
$$;

-- reports_v2 as programs of the first release call it.
CREATE OR REPLACE FUNCTION anytrack.reports_v1(p_event_ids text[]) RETURNS TABLE (
    event_id text, destination text, state text, attempts int, error text, code text,
    pack_offset bigint, packed bytea
) LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT event_id, destination, state, attempts, error, code, pack_offset, packed
    FROM anytrack.reports_v2(p_event_ids)
$$;

-- Return the records at some ranges of positions that are addressed to a destination.
CREATE OR REPLACE FUNCTION anytrack.read_v1(
    p_firsts bigint[], p_lasts bigint[], p_destination text
) RETURNS TABLE (seq bigint, at float8, payload bytea, digest bytea)
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT page.place + log.id - page.block, page.at, log.payload, log.digest
    FROM unnest(p_firsts, p_lasts) AS claimed (first, last)
    JOIN anytrack.page ON page.place <= claimed.last AND page.place >= (
        SELECT place FROM anytrack.page WHERE place <= claimed.first ORDER BY place DESC LIMIT 1)
    JOIN anytrack.log ON log.id
        BETWEEN page.block + greatest(claimed.first - page.place, 0)
        AND page.block + least(claimed.last - page.place, page.n - 1)
    WHERE page.recipients IS NULL OR p_destination = ANY (page.recipients)
$$;

-- Return the records that a destination has still to get, in order, at most p_limit: its retries,
-- its leased and released ranges, and everything behind its cursor.
CREATE OR REPLACE FUNCTION anytrack.undelivered_v1(p_destination text, p_limit bigint)
RETURNS TABLE (seq bigint, payload bytea, digest bytea)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_upto bigint := anytrack.sequence_v1();
    v_cursor bigint;
BEGIN
    SELECT cursor INTO v_cursor FROM anytrack.progress WHERE destination = p_destination
        ORDER BY cursor DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown destination' USING ERRCODE = 'ATUD1';
    END IF;
    RETURN QUERY SELECT r.seq, r.payload, r.digest FROM (
        SELECT seq AS first, seq AS last FROM anytrack.exception
            WHERE destination = p_destination AND due IS NOT NULL
        UNION ALL SELECT first, last FROM anytrack.span WHERE destination = p_destination
        UNION ALL SELECT v_cursor + 1, v_upto WHERE v_cursor < v_upto
        ORDER BY first) AS waiting
    CROSS JOIN LATERAL (SELECT * FROM anytrack.read_v1(
        ARRAY[waiting.first], ARRAY[waiting.last], p_destination) AS r
        ORDER BY r.seq LIMIT p_limit) AS r
    ORDER BY r.seq LIMIT p_limit;
END $$;
