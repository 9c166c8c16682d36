-- Dead letters: exceptions without a due time. A function that changes some holds the lock of the
-- destination, so that two of them never wait for each other in a circle.

-- Return the reasons of dead letters of a destination after a position, in order, at most p_limit.
CREATE OR REPLACE FUNCTION anytrack.dead_v1(p_destination text, p_after bigint, p_limit bigint)
RETURNS TABLE (seq bigint, error text, code text, at float8)
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT seq, error, code, at FROM anytrack.exception
    WHERE destination = p_destination AND due IS NULL AND seq > p_after ORDER BY seq LIMIT p_limit
$$;

-- Return the reasons of the dead letters of some event ids, at all destinations.
CREATE OR REPLACE FUNCTION anytrack.dead_of_v1(p_event_ids text[])
RETURNS TABLE (seq bigint, destination text, error text, code text, at float8)
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT DISTINCT e.seq, e.destination, e.error, e.code, e.at
    FROM anytrack.records_v1(p_event_ids) AS r
    JOIN anytrack.exception AS e ON e.seq = r.seq AND e.due IS NULL
$$;

-- Return the dead letters at some positions and destinations, in order, until their records have
-- p_bytes; those at the first position always.
CREATE OR REPLACE FUNCTION anytrack.letters_v1(p_seqs bigint[], p_destinations text[], p_bytes bigint)
RETURNS TABLE (seq bigint, destination text, payload bytea, digest bytea, attempts int, error text,
    code text, at float8)
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT seq, destination, payload, digest, attempts, error, code, at FROM (
        SELECT e.seq, e.destination, log.payload, log.digest, e.attempts, e.error, e.code, e.at,
            sum(octet_length(log.payload)) OVER (ORDER BY e.seq) AS total,
            min(e.seq) OVER () AS first
        FROM unnest(p_seqs, p_destinations) AS wanted (seq, destination)
        JOIN anytrack.exception AS e ON e.seq = wanted.seq
            AND e.destination = wanted.destination COLLATE "C" AND e.due IS NULL
        CROSS JOIN LATERAL anytrack.page_at_v1(e.seq) AS page
        JOIN anytrack.log ON log.id = page.block + e.seq - page.place) AS letter
    WHERE total <= p_bytes OR seq = first ORDER BY seq, destination
$$;

-- Make the dead letters at some positions due now, without attempts; return how many there were.
-- Under the lock of the destination, and only where they are still dead, so that two replays count
-- each one once.
CREATE OR REPLACE FUNCTION anytrack.replay_v1(p_destination text, p_seqs bigint[], p_now float8)
RETURNS int LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_count int;
BEGIN
    PERFORM pg_advisory_xact_lock(anytrack.lock_of_v1(p_destination));
    UPDATE anytrack.exception SET due = anytrack.now_v1(p_now), attempts = 0, lost = 0
        WHERE seq = ANY (p_seqs) AND destination = p_destination AND due IS NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    UPDATE anytrack.destination SET pending = pending + v_count, dead = dead - v_count
        WHERE name = p_destination AND v_count > 0;
    RETURN v_count;
END $$;

-- Give up the dead letters at some positions for good; return how many there were. Under the lock
-- of the destination, and only where they are still dead, so that two discards count each one once.
CREATE OR REPLACE FUNCTION anytrack.discard_v1(p_destination text, p_seqs bigint[])
RETURNS int LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_count int;
BEGIN
    PERFORM pg_advisory_xact_lock(anytrack.lock_of_v1(p_destination));
    WITH ended AS (
        DELETE FROM anytrack.exception
            WHERE seq = ANY (p_seqs) AND destination = p_destination AND due IS NULL
            RETURNING seq, attempts, error, code
    ), remembered AS (
        INSERT INTO anytrack.discarded (seq, destination, attempts, error, code)
            SELECT seq, p_destination, attempts, error, code FROM ended
            ON CONFLICT (seq, destination) DO UPDATE SET attempts = excluded.attempts,
                error = excluded.error, code = excluded.code
    ), marked AS (
        INSERT INTO anytrack.reclaimable SELECT seq FROM ended ON CONFLICT DO NOTHING
    )
    SELECT count(*) INTO v_count FROM ended;
    UPDATE anytrack.destination SET dead = dead - v_count, discarded = discarded + v_count
        WHERE name = p_destination AND v_count > 0;
    RETURN v_count;
END $$;

-- Replace the conversion with an event id and replay it where it is dead; return these
-- destinations. Nothing changes if it is dead nowhere.
CREATE OR REPLACE FUNCTION anytrack.correct_v1(
    p_event_id text, p_summary text, p_payload bytea, p_digest bytea, p_bytes int, p_now float8
) RETURNS text[] LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_record record;
    v_names text[];
    v_name text;
BEGIN
    SELECT * INTO v_record FROM anytrack.records_v1(ARRAY[p_event_id]);
    v_names := ARRAY(SELECT destination FROM anytrack.exception
        WHERE seq = v_record.seq AND due IS NULL ORDER BY destination);
    IF cardinality(v_names) = 0 THEN
        RETURN v_names;
    END IF;
    FOREACH v_name IN ARRAY v_names LOOP
        IF anytrack.replay_v1(v_name, ARRAY[v_record.seq], p_now) = 0 THEN
            v_names := array_remove(v_names, v_name);  -- somebody replayed it at this moment
        END IF;
    END LOOP;
    IF cardinality(v_names) > 0 THEN
        PERFORM anytrack.replace_v1(v_record.seq, v_record.id, p_payload, p_digest, p_bytes);
        UPDATE anytrack.ids SET summary = p_summary WHERE event_id = p_event_id;
    END IF;
    RETURN v_names;
END $$;

-- Replace the record at a position, and its size in memory in all rows that have the size.
CREATE OR REPLACE FUNCTION anytrack.replace_v1(
    p_seq bigint, p_id bigint, p_payload bytea, p_digest bytea, p_bytes int
) RETURNS void LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
BEGIN
    UPDATE anytrack.log SET payload = p_payload, digest = p_digest WHERE id = p_id;
    IF p_bytes <> anytrack.bytes_of_v1(p_seq) THEN
        UPDATE anytrack.page
            SET large[p_seq - place + 1] = p_bytes
            WHERE block = (p_id >> 12) << 12 AND large IS NOT NULL;
        UPDATE anytrack.page
            SET large = array_fill(0, ARRAY[(p_seq - place)::int]) || p_bytes
                || array_fill(0, ARRAY[(place + n - 1 - p_seq)::int])
            WHERE block = (p_id >> 12) << 12 AND large IS NULL;
        UPDATE anytrack.exception SET bytes = p_bytes WHERE seq = p_seq;
    END IF;
END $$;
