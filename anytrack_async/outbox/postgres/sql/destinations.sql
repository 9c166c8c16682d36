-- Registering destinations, and counting what they have not received.

-- Return the key of the advisory lock of retention, which removes what no destination needs any
-- more.
CREATE OR REPLACE FUNCTION anytrack.retention_lock_v1() RETURNS bigint
LANGUAGE sql STABLE AS $$ SELECT 'anytrack.retention'::regclass::oid::bigint << 32 $$;

-- Return the position up to which a destination has everything but its exceptions; null if it is
-- not registered. Leased and released ranges are not settled, so retention drops nothing that is in
-- flight.
CREATE OR REPLACE FUNCTION anytrack.settled_v1(p_destination text) RETURNS bigint
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT coalesce((SELECT min(first) - 1 FROM anytrack.span WHERE destination = p_destination
            AND first > (SELECT pruned FROM anytrack.retention)),  -- not along all deleted ones
        (SELECT cursor FROM anytrack.progress WHERE destination = p_destination
            ORDER BY cursor DESC LIMIT 1))
$$;

-- Register the destinations that are not registered yet. A new destination gets the conversions
-- that are accepted from now on. One in p_from_start also gets those that are stored now, and a
-- retry, due now, of each older conversion that is still stored because of an exception of another
-- destination.
--
-- The lock of retention is held, so that nothing is dropped meanwhile. The start is the last
-- position of sequence_v1: a transaction that commits later gets a later position, and so is not
-- missed.
CREATE OR REPLACE FUNCTION anytrack.register_v1(
    p_names text[], p_from_start text[], p_now float8
) RETURNS void LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_now float8 := anytrack.now_v1(p_now);
    v_name text;
    v_upto bigint;
    v_start bigint;
    v_inherited bigint;
BEGIN
    IF p_names <@ ARRAY(SELECT name FROM anytrack.destination) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(anytrack.retention_lock_v1());
    v_upto := anytrack.sequence_v1();
    PERFORM set_config('synchronous_commit', 'on', true);
    FOREACH v_name IN ARRAY p_names LOOP
        CONTINUE WHEN EXISTS (SELECT FROM anytrack.destination WHERE name = v_name);
        v_start := v_upto;
        v_inherited := 0;
        IF v_name = ANY (p_from_start) THEN
            SELECT pruned INTO v_start FROM anytrack.retention;
            INSERT INTO anytrack.exception (seq, destination, attempts, due, error, at, bytes)
                SELECT seq, v_name, 0, v_now, '', v_now, anytrack.bytes_of_v1(seq)
                FROM (SELECT seq FROM anytrack.exception WHERE seq <= v_start
                    UNION SELECT seq FROM anytrack.reclaimable WHERE seq <= v_start) AS stored,
                    LATERAL anytrack.page_at_v1(seq) AS page
                WHERE (page.recipients IS NULL OR v_name = ANY (page.recipients))
                    AND EXISTS (SELECT FROM anytrack.log WHERE id = page.block + seq - page.place);
            GET DIAGNOSTICS v_inherited = ROW_COUNT;
        END IF;
        INSERT INTO anytrack.destination (name, start, since, inherited, pending)
            VALUES (v_name, v_start, CASE WHEN v_name = ANY (p_from_start) THEN v_now END,
                v_inherited, v_inherited);
        INSERT INTO anytrack.progress (destination, cursor, floor, skipped)
            VALUES (v_name, v_start, 0, 0);
    END LOOP;
END $$;

-- Return the append call that a position is in; no row if it was forgotten.
CREATE OR REPLACE FUNCTION anytrack.page_at_v1(p_seq bigint) RETURNS SETOF anytrack.page
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT * FROM (SELECT * FROM anytrack.page WHERE place <= p_seq ORDER BY place DESC LIMIT 1) AS p
        WHERE place + n > p_seq
$$;

-- Remove a destination with everything that only this destination has. The lock of retention and
-- that of the destination are held, so that neither retention nor a claim works with half of the
-- rows.
CREATE OR REPLACE FUNCTION anytrack.forget_v1(p_destination text) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(anytrack.retention_lock_v1());
    PERFORM pg_advisory_xact_lock(anytrack.lock_of_v1(p_destination));
    INSERT INTO anytrack.reclaimable
        SELECT seq FROM anytrack.exception WHERE destination = p_destination
        ON CONFLICT DO NOTHING;
    DELETE FROM anytrack.lease WHERE destination = p_destination;
    DELETE FROM anytrack.span WHERE destination = p_destination;
    DELETE FROM anytrack.exception WHERE destination = p_destination;
    DELETE FROM anytrack.discarded WHERE destination = p_destination;
    DELETE FROM anytrack.remote_ids WHERE destination = p_destination;
    DELETE FROM anytrack.history_batches WHERE destination = p_destination;
    DELETE FROM anytrack.history_attempts WHERE destination = p_destination;
    DELETE FROM anytrack.progress WHERE destination = p_destination;
    DELETE FROM anytrack.destination WHERE name = p_destination;
END $$;

-- Return for each destination how many conversions wait, are in flight, are retrying, are dead, and
-- were delivered. Without any destination, return one row with the name '' and the number of stored
-- conversions.
CREATE OR REPLACE FUNCTION anytrack.depths_v1(p_now float8) RETURNS TABLE (
    now float8, name text, waiting bigint, in_flight bigint, retrying bigint, dead bigint,
    delivered bigint
) LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_now float8 := anytrack.now_v1(p_now);
    v_upto bigint := anytrack.sequence_v1();
BEGIN
    RETURN QUERY SELECT v_now, d.name,
        beyond.n + in_spans.size + d.pending,
        in_spans.leased + leased.retries,
        d.pending - leased.retries + in_spans.retrying,
        d.dead,
        p.cursor - d.start - p.skipped - in_spans.size + d.inherited - d.pending - d.dead - d.discarded
    FROM anytrack.destination AS d
    CROSS JOIN LATERAL (SELECT * FROM anytrack.progress WHERE destination = d.name
        ORDER BY cursor DESC LIMIT 1) AS p
    CROSS JOIN LATERAL (SELECT greatest(v_upto - p.cursor, 0) - coalesce(sum(
        page.n - greatest(p.cursor + 1 - page.place, 0)), 0)::bigint AS n FROM anytrack.page
        WHERE place > p.cursor - 4096 AND place + page.n > p.cursor + 1 AND place <= v_upto
            AND recipients IS NOT NULL AND NOT d.name = ANY (recipients)) AS beyond
    CROSS JOIN LATERAL (SELECT coalesce(sum(size), 0)::bigint AS size,
        coalesce(sum(size) FILTER (WHERE until > v_now), 0)::bigint AS leased,
        coalesce(sum(size) FILTER (WHERE until <= v_now
            OR (until IS NULL AND attempts > 0)), 0)::bigint AS retrying
        FROM anytrack.span LEFT JOIN anytrack.lease ON lease.id = span.lease
        WHERE span.destination = d.name AND first > (SELECT pruned FROM anytrack.retention)
        ) AS in_spans
    CROSS JOIN LATERAL (SELECT count(*) AS retries
        FROM anytrack.lease JOIN anytrack.exception ON exception.lease = lease.id
        WHERE lease.destination = d.name AND until > v_now AND until >= p.floor
            AND exception.lease <> 0) AS leased
    ORDER BY d.name;
    IF NOT FOUND THEN
        RETURN QUERY SELECT v_now, '', v_upto - pruned, 0::bigint, 0::bigint, 0::bigint, 0::bigint
            FROM anytrack.retention;
    END IF;
END $$;

-- Return for each destination when the oldest conversion was accepted that it still has to get; no
-- row for a destination that has everything.
CREATE OR REPLACE FUNCTION anytrack.oldest_v1(p_now float8) RETURNS TABLE (now float8, name text, at float8)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_upto bigint := anytrack.sequence_v1();
BEGIN
    RETURN QUERY SELECT anytrack.now_v1(p_now), d.name, page.at FROM anytrack.destination AS d
    CROSS JOIN LATERAL (SELECT min(seq) AS seq FROM (
        SELECT min(first) AS seq FROM anytrack.span
            WHERE destination = d.name AND first > (SELECT pruned FROM anytrack.retention)
        UNION ALL (SELECT greatest(place, p.cursor + 1) FROM
            (SELECT cursor FROM anytrack.progress WHERE destination = d.name
                ORDER BY cursor DESC LIMIT 1) AS p, anytrack.page
            WHERE place > p.cursor - 4096 AND place + n > p.cursor + 1 AND place <= v_upto
                AND (recipients IS NULL OR d.name = ANY (recipients)) ORDER BY place LIMIT 1)
        UNION ALL SELECT min(seq) FROM anytrack.exception
            WHERE destination = d.name AND due IS NOT NULL AND lease = 0 AND lost < 2
        UNION ALL SELECT min(seq) FROM anytrack.exception
            WHERE destination = d.name AND due IS NOT NULL AND lease = 0 AND lost >= 2
        UNION ALL SELECT min(seq) FROM anytrack.lease JOIN anytrack.exception
            ON exception.lease = lease.id AND exception.lease <> 0
            WHERE lease.destination = d.name) AS first) AS oldest
    CROSS JOIN LATERAL anytrack.page_at_v1(oldest.seq) AS page
    WHERE oldest.seq IS NOT NULL;
END $$;
