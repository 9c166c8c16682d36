-- The history: counting outcomes, merging and deleting counts, and reading what was recorded.

-- Add counts: of accepted conversions by hour and kind, and of outcomes by minute. Rows are only
-- inserted, so that no transaction waits for another one that counts the same; merge_v1 adds them
-- up later.
CREATE OR REPLACE FUNCTION anytrack.count_v1(
    p_hours bigint[], p_types text[], p_currencies text[], p_sources text[], p_campaigns text[],
    p_accepted bigint[], p_values text[], p_minutes bigint[], p_destinations text[],
    p_statuses text[], p_codes text[], p_outcomes bigint[], p_seconds float8[]
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO anytrack.new_accepted
        (hour, conversion_type, currency, source, campaign, count, value)
        SELECT hour, conversion_type, currency, source, campaign, count, value::numeric
        FROM unnest(p_hours, p_types, p_currencies, p_sources, p_campaigns, p_accepted, p_values)
            AS kind (hour, conversion_type, currency, source, campaign, count, value);
    INSERT INTO anytrack.new_outcomes (minute, destination, status, code, count, seconds)
        SELECT * FROM unnest(
            p_minutes, p_destinations, p_statuses, p_codes, p_outcomes, p_seconds);
$$;

-- Accept conversions in a transaction of the application, and count them in it, so that both are
-- undone together. The kinds to count are given as columns, without the hour. If some of the
-- conversions are repeats, nothing is counted.
CREATE OR REPLACE FUNCTION anytrack.append_v2(
    p_event_ids text[], p_summaries text[], p_payloads bytea[], p_digests bytea[],
    p_recipients text[], p_large int[], p_room bigint, p_now float8, p_types text[],
    p_currencies text[], p_sources text[], p_campaigns text[], p_counts bigint[], p_values text[],
    OUT added int, OUT first_summaries text[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_hour bigint := floor(anytrack.now_v1(p_now) / 3600)::bigint * 3600;
BEGIN
    SELECT * INTO added, first_summaries FROM anytrack.append_v1(
        p_event_ids, p_summaries, p_payloads, p_digests, p_recipients, p_large, p_room, p_now);
    IF first_summaries IS NULL THEN
        INSERT INTO anytrack.new_accepted
            (hour, conversion_type, currency, source, campaign, count, value)
            SELECT v_hour, conversion_type, currency, source, campaign, count, value::numeric
            FROM unnest(p_types, p_currencies, p_sources, p_campaigns, p_counts, p_values)
                AS kind (conversion_type, currency, source, campaign, count, value);
    END IF;
END $$;

-- Record and count the attempts of a lease that ended without a result, before its conversions are
-- returned. The reason is the same for all, so it is not stored.
CREATE OR REPLACE FUNCTION anytrack.add_lost_v1(p_lease bigint, p_at float8) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO anytrack.new_outcomes (minute, destination, status, code, count, seconds)
        SELECT floor(p_at / 60)::bigint * 60, destination, 'waiting', 'lease_lost',
            sum(n), sum(n * greatest(p_at - at, 0))
        FROM (
            SELECT s.destination, page.at,
                least(s.last, page.place + page.n - 1) - greatest(s.first, page.place) + 1 AS n
            FROM anytrack.span AS s JOIN anytrack.page ON page.place <= s.last AND page.place >= (
                SELECT place FROM anytrack.page WHERE place <= s.first ORDER BY place DESC LIMIT 1)
            WHERE s.lease = p_lease AND s.lease <> 0
                AND (page.recipients IS NULL OR s.destination = ANY (page.recipients))
            UNION ALL SELECT e.destination, page.at, 1
            FROM anytrack.exception AS e CROSS JOIN LATERAL anytrack.page_at_v1(e.seq) AS page
            WHERE e.lease = p_lease AND e.lease <> 0) AS lost
        GROUP BY destination;
    INSERT INTO anytrack.history_attempts
            (last, first, destination, at, number, status, code, error)
        SELECT last, first, destination, p_at, attempts + 1, 'waiting', 'lease_lost', ''
        FROM (SELECT last, first, destination, attempts FROM anytrack.span
                WHERE lease = p_lease AND lease <> 0
            UNION ALL SELECT seq, seq, destination, attempts FROM anytrack.exception
                WHERE lease = p_lease AND lease <> 0) AS lost
$$;

-- Drop conversions as prune_v1 does, then merge the counts, and delete counts older than
-- p_counts_kept seconds and more than a day ahead, which were written while the clock of the server
-- was wrong. Another process that does the same at this moment makes this call return at once.
CREATE OR REPLACE FUNCTION anytrack.prune_v2(
    p_rows int, p_remember float8, p_counts_kept float8, p_now float8,
    OUT dropped bigint, OUT more bool
) LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_now float8 := anytrack.now_v1(p_now);
BEGIN
    dropped := 0;
    more := false;
    IF NOT pg_try_advisory_xact_lock(anytrack.retention_lock_v1()) THEN
        RETURN;
    END IF;
    SELECT * INTO dropped, more FROM anytrack.prune_v1(p_rows, p_remember, p_now);
    PERFORM anytrack.merge_v1();
    DELETE FROM anytrack.history_outcomes WHERE minute < v_now - p_counts_kept
        OR minute > v_now + 86400;
    DELETE FROM anytrack.history_accepted WHERE hour < v_now - p_counts_kept
        OR hour > v_now + 86400;
END $$;

-- Merge the counts, so that they can be read with the names of sources and campaigns that are
-- counted apart. Does nothing on a replica, or while another process holds the lock of retention.
CREATE OR REPLACE FUNCTION anytrack.merge_v1() RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
BEGIN
    IF NOT current_setting('transaction_read_only')::bool
        AND pg_try_advisory_xact_lock(anytrack.retention_lock_v1())
    THEN
        PERFORM set_config('synchronous_commit', 'off', true);
        PERFORM anytrack.merge_outcomes_v1();
        PERFORM anytrack.merge_accepted_v1();
    END IF;
END $$;

-- Move the new counts of outcomes into the merged ones. One statement deletes and adds, so a row
-- that another transaction commits meanwhile stays for the next time.
CREATE OR REPLACE FUNCTION anytrack.merge_outcomes_v1() RETURNS void LANGUAGE sql AS $$
    WITH taken AS (DELETE FROM anytrack.new_outcomes RETURNING *)
    INSERT INTO anytrack.history_outcomes AS merged
            (minute, destination, status, code, count, seconds)
        SELECT minute, destination, status, code, sum(count)::bigint, sum(seconds)
        FROM taken GROUP BY minute, destination, status, code
        ON CONFLICT (minute, destination, status, code) DO UPDATE
            SET count = merged.count + excluded.count, seconds = merged.seconds + excluded.seconds
$$;

-- Move the new counts of accepted conversions into the merged ones. Of a day, the first 500 pairs
-- of source and campaign are counted apart, all others as 'other'.
CREATE OR REPLACE FUNCTION anytrack.merge_accepted_v1() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_day bigint;
BEGIN
    FOR v_day IN SELECT DISTINCT hour / 86400 FROM anytrack.new_accepted LOOP
        WITH taken AS (
            DELETE FROM anytrack.new_accepted WHERE hour / 86400 = v_day RETURNING *
        ), stored AS (
            SELECT DISTINCT source, campaign FROM anytrack.history_accepted
            WHERE hour >= v_day * 86400 AND hour < (v_day + 1) * 86400
        ), fresh AS (
            SELECT source, campaign, row_number() OVER (ORDER BY min(id)) AS n FROM taken
            WHERE (source, campaign) NOT IN (SELECT source, campaign FROM stored)
                AND (source, campaign) <> ('other', 'other')
            GROUP BY source, campaign
        ), named AS (
            SELECT source, campaign FROM stored UNION ALL SELECT source, campaign FROM fresh
            WHERE n <= 500 - (SELECT count(*) FROM stored
                WHERE (source, campaign) <> ('other', 'other'))
        )
        INSERT INTO anytrack.history_accepted AS merged
                (hour, conversion_type, currency, source, campaign, count, value)
            SELECT hour, conversion_type, currency, coalesce(named.source, 'other'),
                coalesce(named.campaign, 'other'), sum(count)::bigint, sum(value)
            FROM taken LEFT JOIN named
                ON named.source = taken.source AND named.campaign = taken.campaign
            GROUP BY 1, 2, 3, 4, 5
            ON CONFLICT (hour, conversion_type, currency, source, campaign) DO UPDATE
                SET count = merged.count + excluded.count, value = merged.value + excluded.value;
    END LOOP;
END $$;

-- Return the outcomes of a period, of one destination or of all: merged counts and new ones
-- together.
CREATE OR REPLACE FUNCTION anytrack.outcomes_v1(p_since float8, p_until float8, p_destination text)
RETURNS TABLE (minute bigint, destination text, status text, code text, count bigint, seconds float8)
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT minute, destination, status, code, sum(count)::bigint, sum(seconds) FROM (
        SELECT * FROM anytrack.history_outcomes WHERE minute > p_since - 60
        UNION ALL SELECT * FROM anytrack.new_outcomes WHERE minute > p_since - 60) AS counted
    WHERE minute < coalesce(p_until, 'infinity')
        AND destination = coalesce(p_destination, destination)
    GROUP BY minute, destination, status, code
$$;

-- Return the counts of conversions that were accepted in a period: merged counts and new ones
-- together.
CREATE OR REPLACE FUNCTION anytrack.accepted_counts_v1(p_since float8, p_until float8)
RETURNS TABLE (hour bigint, conversion_type text, currency text, source text, campaign text,
    count bigint, value numeric)
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT hour, conversion_type, currency, source, campaign, sum(count)::bigint, sum(value) FROM (
        SELECT * FROM anytrack.history_accepted WHERE hour > p_since - 3600
        UNION ALL SELECT hour, conversion_type, currency, source, campaign, count, value
        FROM anytrack.new_accepted WHERE hour > p_since - 3600) AS counted
    WHERE hour < coalesce(p_until, 'infinity')
    GROUP BY hour, conversion_type, currency, source, campaign
$$;

-- Return the attempts at a conversion that are kept, oldest first. Attempts at whole batches are
-- few, so that looking at each later one takes little time.
CREATE OR REPLACE FUNCTION anytrack.attempts_v1(p_event_id text) RETURNS TABLE (
    last bigint, destination text, at float8, number int, status text, code text, http_status int,
    error text, due float8
) LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT a.last, a.destination, a.at, a.number, a.status, a.code, a.http_status, a.error, a.due
    FROM anytrack.records_v1(ARRAY[p_event_id]) AS r
    CROSS JOIN LATERAL (
        SELECT * FROM anytrack.history_attempts WHERE last = r.seq AND first = r.seq
        UNION ALL SELECT * FROM anytrack.history_attempts
        WHERE first < last AND last >= r.seq AND first <= r.seq) AS a
    WHERE r.recipients IS NULL OR a.first = a.last OR a.destination = ANY (r.recipients)
    ORDER BY a.id
$$;

-- Add attempts that another outbox has recorded. Attempts that are here already change nothing, so
-- that an interrupted copy can be repeated. What was recorded when a dead letter was copied is
-- replaced by the attempt that it died of.
CREATE OR REPLACE FUNCTION anytrack.add_attempts_v1(
    p_seqs bigint[], p_destinations text[], p_ats float8[], p_numbers int[], p_statuses text[],
    p_codes text[], p_https int[], p_errors text[], p_dues float8[]
) RETURNS void LANGUAGE sql SET jit = off SET enable_seqscan = off AS $$
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest(p_seqs, p_destinations, p_ats, p_numbers, p_statuses, p_codes, p_https,
                p_errors, p_dues)
            AS g (seq, destination, at, number, status, code, http_status, error, due)
        WHERE NOT EXISTS (SELECT FROM anytrack.history_attempts AS a WHERE a.last = g.seq
            AND a.first = g.seq AND a.destination = g.destination COLLATE "C" AND a.at = g.at
            AND a.number = g.number AND a.status = g.status)
    ), replaced AS (
        DELETE FROM anytrack.history_attempts AS a USING given AS g
        WHERE a.last = g.seq AND a.first = g.seq AND a.at > g.at AND (
            (a.status = 'waiting' AND a.number = 0)
            OR (a.destination = g.destination COLLATE "C" AND (a.status, a.number) = ('dead', g.number)
                AND g.status = 'dead' AND a.code IS NOT DISTINCT FROM g.code))
    )
    INSERT INTO anytrack.history_attempts
            (last, first, destination, at, number, status, code, http_status, error, due)
        SELECT seq, seq, destination, at, number, status, code, http_status, error, due
        FROM given ORDER BY at
$$;

-- Return when each destination confirmed a conversion, with its batch or after failed attempts. It
-- may have failed there since, after a replay.
CREATE OR REPLACE FUNCTION anytrack.delivered_at_v1(p_event_id text)
RETURNS TABLE (destination text, at float8)
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT d.name, coalesce(retried.at, CASE WHEN batch.first <= r.seq THEN batch.at END)
    FROM anytrack.records_v1(ARRAY[p_event_id]) AS r CROSS JOIN anytrack.destination AS d
    LEFT JOIN LATERAL (SELECT first, at FROM anytrack.history_batches
        WHERE destination = d.name AND last >= r.seq ORDER BY last LIMIT 1) AS batch ON true
    LEFT JOIN LATERAL (SELECT max(at) AS at FROM anytrack.history_attempts
        WHERE last = r.seq AND first = r.seq AND destination = d.name AND status = 'delivered'
        ) AS retried ON true
    WHERE batch.first <= r.seq OR retried.at IS NOT NULL
$$;

-- Return the conversions with some event ids. Time and payload are null for those that are only
-- remembered.
CREATE OR REPLACE FUNCTION anytrack.remembered_v1(p_event_ids text[]) RETURNS TABLE (
    seq bigint, event_id text, summary text, recipients text[], at float8, payload bytea, digest bytea
) LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT page.place + ids.id - page.block, ids.event_id, ids.summary, page.recipients,
        CASE WHEN log.id IS NOT NULL THEN page.at END, log.payload, log.digest
    FROM (SELECT DISTINCT unnest(p_event_ids) AS event_id) AS wanted
    JOIN anytrack.ids ON ids.event_id = wanted.event_id COLLATE "C"
    JOIN anytrack.page ON page.block = (ids.id >> 12) << 12
    LEFT JOIN anytrack.log ON log.id = ids.id
$$;

-- Return the newest remembered conversions below a position, newest first: p_limit, or fewer if
-- their records have p_bytes. Event ids are looked up by a range of ids, because their index (BRIN)
-- finds single ids slowly.
CREATE OR REPLACE FUNCTION anytrack.newest_v1(p_before bigint, p_limit int, p_bytes bigint)
RETURNS TABLE (
    seq bigint, event_id text, summary text, recipients text[], at float8, payload bytea, digest bytea
) LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_before bigint := p_before;
    v_bytes bigint := 0;
    v_rows int := 0;
    v_part record;
    v_row record;
BEGIN
    PERFORM anytrack.sequence_v1();
    WHILE v_rows < p_limit LOOP
        SELECT min(block) AS first, max(block + n - 1) AS last, min(place) AS place,
            array_agg(block) AS blocks INTO v_part
            FROM (SELECT * FROM anytrack.page WHERE place < v_before
                ORDER BY place DESC LIMIT least(p_limit, 500)) AS part;
        EXIT WHEN v_part.first IS NULL;
        FOR v_row IN SELECT page.place + ids.id - page.block AS seq, ids.event_id, ids.summary,
                page.recipients, CASE WHEN log.id IS NOT NULL THEN page.at END AS at,
                log.payload, log.digest
            FROM anytrack.ids JOIN anytrack.page ON page.block = (ids.id >> 12) << 12
            LEFT JOIN anytrack.log ON log.id = ids.id
            WHERE ids.id BETWEEN v_part.first AND v_part.last AND page.block = ANY (v_part.blocks)
                AND page.place + ids.id - page.block < v_before
            ORDER BY 1 DESC LIMIT p_limit - v_rows
        LOOP
            seq := v_row.seq;
            event_id := v_row.event_id;
            summary := v_row.summary;
            recipients := v_row.recipients;
            at := v_row.at;
            payload := v_row.payload;
            digest := v_row.digest;
            RETURN NEXT;
            v_rows := v_rows + 1;
            v_bytes := v_bytes + coalesce(octet_length(payload), 0);
            IF v_bytes >= p_bytes THEN
                RETURN;
            END IF;
        END LOOP;
        v_before := v_part.place;
    END LOOP;
END $$;

-- Search the newest p_limit stored conversions below a position, or fewer if they have p_bytes.
--
-- Returns those that contain one of p_texts, or all if that is null. The last row has no payload;
-- its seq is the position below which to go on, 0 at the end.
CREATE OR REPLACE FUNCTION anytrack.search_v1(
    p_before bigint, p_limit int, p_bytes bigint, p_texts bytea[]
) RETURNS TABLE (seq bigint, payload bytea, digest bytea)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_bytes bigint := 0;
    v_rows int := 0;
    v_row record;
BEGIN
    PERFORM anytrack.sequence_v1();
    FOR v_row IN SELECT p.place + stored.id - p.block AS seq, stored.payload, stored.digest
        FROM (SELECT * FROM anytrack.page WHERE place < p_before ORDER BY place DESC) AS p
        CROSS JOIN LATERAL (SELECT * FROM anytrack.log
            WHERE log.id BETWEEN p.block AND p.block + least(p.n, p_before - p.place) - 1
            ORDER BY log.id DESC) AS stored
    LOOP
        IF p_texts IS NULL
            OR EXISTS (SELECT FROM unnest(p_texts) AS t WHERE position(t IN v_row.payload) > 0)
        THEN
            seq := v_row.seq;
            payload := v_row.payload;
            digest := v_row.digest;
            RETURN NEXT;
        END IF;
        v_rows := v_rows + 1;
        v_bytes := v_bytes + octet_length(v_row.payload);
        EXIT WHEN v_rows >= p_limit OR v_bytes >= p_bytes;
    END LOOP;
    seq := CASE WHEN v_rows >= p_limit OR v_bytes >= p_bytes THEN v_row.seq ELSE 0 END;
    payload := NULL;
    digest := NULL;
    RETURN NEXT;
END $$;
