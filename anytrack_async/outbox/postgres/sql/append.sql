-- Writing conversions, and giving them positions after the commit.
--
-- Errors have codes of their own: ATQF1 no room, ATUD1 unknown destination, ATRC1 wrong isolation
-- level.

-- Return the time on the outbox's clock, in unix seconds: that of the server, unless a test passes
-- p_now. One clock for all workers, so that the clocks of their machines may differ.
CREATE OR REPLACE FUNCTION anytrack.now_v1(p_now float8) RETURNS float8
LANGUAGE sql VOLATILE AS $$ SELECT coalesce(p_now, extract(epoch FROM clock_timestamp())::float8) $$;

-- Accept conversions: store all of them, or none. Each array has one value per conversion.
--
-- Nothing here depends on the order in which transactions commit, because the rows get no position
-- yet: sequence_v1 numbers them after the commit. The function locks nothing but its own rows, so
-- it may be part of any transaction of an application.
--
-- p_recipients: the names of the destinations that all of them are addressed to; null for all.
-- p_large: the bytes of memory of each conversion that is larger than 2 KiB, 0 for others; null if
--     all are small.
-- p_room: how many may be new; null for any number. With more, the error ATQF1 is raised.
-- added: how many are new. first_summaries: null if all are new; else null for each new conversion,
--     and for each repeat the summary of the first conversion with its event id.
CREATE OR REPLACE FUNCTION anytrack.append_v1(
    p_event_ids text[], p_summaries text[], p_payloads bytea[], p_digests bytea[],
    p_recipients text[] DEFAULT NULL, p_large int[] DEFAULT NULL, p_room bigint DEFAULT NULL,
    p_now float8 DEFAULT NULL, OUT added int, OUT first_summaries text[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_total int := coalesce(cardinality(p_event_ids), 0);
    v_base bigint;
BEGIN
    IF v_total > 4096 THEN
        SELECT * INTO added, first_summaries FROM anytrack.append_long_v1(
            p_event_ids, p_summaries, p_payloads, p_digests, p_recipients, p_large, p_room, p_now);
        RETURN;
    END IF;
    v_base := nextval('anytrack.block') << 12;
    IF v_total = 1 THEN  -- the same as below without arrays, which takes less
        INSERT INTO anytrack.ids (event_id, id, summary)
            VALUES (p_event_ids[1], v_base, p_summaries[1]) ON CONFLICT (event_id) DO NOTHING;
        IF NOT FOUND THEN
            added := 0;
            first_summaries := ARRAY(
                SELECT summary FROM anytrack.ids WHERE event_id = p_event_ids[1] COLLATE "C");
            RETURN;
        END IF;
        added := 1;
        IF p_room < 1 THEN
            PERFORM anytrack.refuse_v1(added);
        END IF;
        INSERT INTO anytrack.log (id, digest, payload)
            VALUES (v_base, p_digests[1], p_payloads[1]);
        INSERT INTO anytrack.arrival (block, n, at, recipients, large)
            VALUES (v_base, 1, anytrack.now_v1(p_now), p_recipients, p_large);
        RETURN;
    END IF;
    -- Sorted, so that two calls with the same event ids never wait for each other in a circle.
    INSERT INTO anytrack.ids (event_id, id, summary)
        SELECT unnest(p_event_ids) COLLATE "C" AS event_id,
            generate_series(v_base, v_base + v_total - 1) AS id, unnest(p_summaries)
        ORDER BY event_id, id
        ON CONFLICT (event_id) DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    IF added > p_room THEN
        PERFORM anytrack.refuse_v1(added);
    END IF;
    IF added < v_total THEN
        SELECT * INTO p_payloads, p_digests, p_large, first_summaries FROM anytrack.new_only_v1(
            v_base, p_event_ids, p_payloads, p_digests, p_large);
        IF added = 0 THEN
            RETURN;
        END IF;
    END IF;
    INSERT INTO anytrack.log (id, digest, payload)
        SELECT generate_series(v_base, v_base + added - 1), unnest(p_digests), unnest(p_payloads);
    INSERT INTO anytrack.arrival (block, n, at, recipients, large)
        VALUES (v_base, added, anytrack.now_v1(p_now), p_recipients, p_large);
END $$;

-- Raise the error ATQF1: the outbox has no room for p_added new conversions. The error undoes what
-- the call has inserted.
CREATE OR REPLACE FUNCTION anytrack.refuse_v1(p_added int) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the outbox has no room for % new conversions', p_added
        USING ERRCODE = 'ATQF1', DETAIL = p_added::text;
END $$;

-- Remove the repeats from the arrays of a call, and give the new conversions consecutive ids: of
-- the ids 8 to 12 where 9 is a repeat, 10 to 12 become 9 to 11. Only rows that this transaction has
-- inserted are changed, so that no other transaction sees the old ids.
CREATE OR REPLACE FUNCTION anytrack.new_only_v1(
    p_base bigint, p_event_ids text[], INOUT payloads bytea[], INOUT digests bytea[],
    INOUT large int[], OUT first_summaries text[]
) LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_is_new bool[];
BEGIN
    SELECT array_agg(stored.id = p_base + n - 1 ORDER BY n),
        array_agg(CASE WHEN stored.id = p_base + n - 1 THEN NULL ELSE stored.summary END ORDER BY n)
        INTO v_is_new, first_summaries
        FROM unnest(p_event_ids) WITH ORDINALITY AS new (event_id, n)
        JOIN anytrack.ids AS stored ON stored.event_id = new.event_id COLLATE "C";
    UPDATE anytrack.ids SET id = p_base + dense.n - 1
        FROM (SELECT p_event_ids[i] AS event_id, row_number() OVER (ORDER BY i) AS n, i
            FROM generate_subscripts(v_is_new, 1) AS i WHERE v_is_new[i]) AS dense
        WHERE ids.event_id = dense.event_id COLLATE "C" AND dense.n <> dense.i;
    SELECT array_agg(payloads[i] ORDER BY i), array_agg(digests[i] ORDER BY i),
        array_agg(large[i] ORDER BY i)
        INTO payloads, digests, large FROM generate_subscripts(v_is_new, 1) AS i WHERE v_is_new[i];
    IF NOT EXISTS (SELECT FROM unnest(large) AS bytes WHERE bytes > 0) THEN
        large := NULL;
    END IF;
END $$;

-- Accept a call of more than 4,096 conversions in parts, because an id has 12 bits for the index in
-- a call. All parts are in one transaction, so that all or none are stored.
CREATE OR REPLACE FUNCTION anytrack.append_long_v1(
    p_event_ids text[], p_summaries text[], p_payloads bytea[], p_digests bytea[],
    p_recipients text[], p_large int[], p_room bigint, p_now float8,
    OUT added int, OUT first_summaries text[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_total int := cardinality(p_event_ids);
    v_last int;
    v_part record;
BEGIN
    added := 0;
    FOR v_first IN 1..v_total BY 4096 LOOP
        v_last := least(v_first + 4095, v_total);
        SELECT * INTO v_part FROM anytrack.append_v1(
            p_event_ids[v_first:v_last], p_summaries[v_first:v_last], p_payloads[v_first:v_last],
            p_digests[v_first:v_last], p_recipients, p_large[v_first:v_last], p_room - added, p_now);
        added := added + v_part.added;
        first_summaries := first_summaries || coalesce(v_part.first_summaries,
            array_fill(NULL::text, ARRAY[v_last - v_first + 1]));
    END LOOP;
    IF added = v_total THEN
        first_summaries := NULL;
    END IF;
END $$;

-- Give positions to the append calls that were committed since the last time, and return the last
-- position. Called before anything is claimed or counted. The isolation level must be READ
-- COMMITTED: what the last holder of the lock has committed must be seen after the wait for the
-- lock.
--
-- Safe in whatever order transactions commit: the newest row of numbering has the snapshot in which
-- the last numbering looked. An append call is new if that snapshot did not see its transaction,
-- because the transaction began later (xid >= xmax) or was running (xid in xip). Example:
-- transactions 100 and 101 append; 101 commits first and gets position 1, and the snapshot that is
-- stored says that 100 is running. After 100 has committed, it gets position 2. So a late commit
-- gets a later position: no destination has passed that position yet, and no other append waits for
-- the commit. Positions and snapshot are written by one statement, so that both belong to the same
-- moment, and under a lock, so that two processes do not number at once.
CREATE OR REPLACE FUNCTION anytrack.sequence_v1() RETURNS bigint
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_last anytrack.numbering;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the outbox must be used with the isolation level READ COMMITTED'
            USING ERRCODE = 'ATRC1';
    END IF;
    SELECT * INTO v_last FROM anytrack.numbering ORDER BY upto DESC, n DESC LIMIT 1;
    -- On a replica, what the primary has numbered can be read.
    IF NOT anytrack.has_arrivals_v1(v_last.snap)
        OR current_setting('transaction_read_only')::bool
    THEN
        RETURN v_last.upto;
    END IF;
    PERFORM pg_advisory_xact_lock(('anytrack.numbering'::regclass::oid::bigint << 32));
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT * INTO v_last FROM anytrack.numbering ORDER BY upto DESC, n DESC LIMIT 1;
    IF pg_snapshot_xmax(v_last.snap) > pg_snapshot_xmax(pg_current_snapshot()) THEN
        RETURN anytrack.renumber_v1(v_last);
    END IF;
    WITH fresh AS MATERIALIZED (
        SELECT block, n, at, recipients, large FROM anytrack.arrival
            WHERE xid >= pg_snapshot_xmax(v_last.snap)
        UNION ALL SELECT block, n, at, recipients, large FROM anytrack.arrival
            WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip(v_last.snap)))
    ), numbered AS (
        INSERT INTO anytrack.page (place, block, n, at, recipients, large)
            SELECT v_last.upto + sum(n) OVER (ORDER BY block) - n + 1, block, n, at, recipients, large
            FROM fresh RETURNING n
    )
    INSERT INTO anytrack.numbering (upto, n, snap)
        SELECT v_last.upto + coalesce(sum(n), 0), v_last.n + 1, pg_current_snapshot() FROM numbered;
    DELETE FROM anytrack.numbering WHERE upto = v_last.upto AND n = v_last.n;
    RETURN (SELECT upto FROM anytrack.numbering ORDER BY upto DESC, n DESC LIMIT 1);
END $$;

-- Return whether sequence_v1 has anything to number, without a lock: append calls that the stored
-- snapshot did not see. Also true if the stored snapshot is from the future, as after a dump was
-- restored into another server, whose transactions have lower numbers.
CREATE OR REPLACE FUNCTION anytrack.has_arrivals_v1(p_snap pg_snapshot) RETURNS bool
LANGUAGE plpgsql AS $$
DECLARE
    v_xmax xid8 := pg_snapshot_xmax(p_snap);
    v_running xid8[] := ARRAY(SELECT pg_snapshot_xip(p_snap));
BEGIN
    RETURN v_xmax > pg_snapshot_xmax(pg_current_snapshot())
        OR EXISTS (SELECT FROM anytrack.arrival WHERE xid >= v_xmax)
        OR EXISTS (SELECT FROM anytrack.arrival WHERE xid = ANY (v_running));
END $$;

-- Give positions to all append calls without one, whatever their transactions. After a dump was
-- restored into another server, the stored snapshot says nothing about its transactions. Called
-- while the lock of sequence_v1 is held.
CREATE OR REPLACE FUNCTION anytrack.renumber_v1(p_last anytrack.numbering) RETURNS bigint
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_upto bigint;
BEGIN
    -- Transaction 3 ended before the server was ever used, so these rows are never new again.
    UPDATE anytrack.arrival SET xid = '3' WHERE xid <> '3';
    WITH numbered AS (
        INSERT INTO anytrack.page (place, block, n, at, recipients, large)
            SELECT p_last.upto + sum(n) OVER (ORDER BY block) - n + 1, block, n, at, recipients, large
            FROM anytrack.arrival
            WHERE NOT EXISTS (SELECT FROM anytrack.page WHERE page.block = arrival.block)
            RETURNING n
    )
    INSERT INTO anytrack.numbering (upto, n, snap)
        SELECT p_last.upto + coalesce(sum(n), 0), p_last.n + 1, pg_current_snapshot() FROM numbered
        RETURNING upto INTO v_upto;
    DELETE FROM anytrack.numbering WHERE upto = p_last.upto AND n = p_last.n;
    RETURN v_upto;
END $$;
