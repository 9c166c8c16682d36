-- Reading everything that is stored, to erase a person's data, to list it, and to check it.

-- Return some records after an id, in order: at most p_limit, and at most p_bytes unless it is one
-- record. Those that have no position yet are returned too.
CREATE OR REPLACE FUNCTION anytrack.stored_v1(p_after bigint, p_limit int, p_bytes bigint)
RETURNS TABLE (id bigint, payload bytea, digest bytea)
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT id, payload, digest FROM (
        SELECT id, payload, digest, sum(octet_length(payload)) OVER (ORDER BY id) AS total,
            row_number() OVER (ORDER BY id) AS n
        FROM (SELECT * FROM anytrack.log WHERE id > p_after ORDER BY id LIMIT p_limit) AS part
    ) AS counted WHERE total <= p_bytes OR n = 1 ORDER BY id
$$;

-- Replace a record if it still has the digest that was read, and empty the reasons of its failures,
-- in which a service may have quoted the person. Returns nothing if the record was replaced or
-- dropped since it was read.
--
-- seq: its position; null if it has none yet. in_flight: the destinations that it is claimed for.
--     Of two changes at once, the second waits for the first, finds another digest, and changes
--     nothing.
CREATE OR REPLACE FUNCTION anytrack.erase_v1(
    p_id bigint, p_old_digest bytea, p_payload bytea, p_digest bytea, p_bytes int
) RETURNS TABLE (seq bigint, in_flight text[])
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_seq bigint;
BEGIN
    PERFORM FROM anytrack.log WHERE id = p_id AND digest = p_old_digest FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT place + p_id - block INTO v_seq FROM anytrack.page WHERE block = (p_id >> 12) << 12;
    IF v_seq IS NULL THEN
        UPDATE anytrack.log SET payload = p_payload, digest = p_digest WHERE id = p_id;
    ELSE
        PERFORM anytrack.replace_v1(v_seq, p_id, p_payload, p_digest, p_bytes);
    END IF;
    UPDATE anytrack.exception SET error = '' WHERE seq = v_seq AND error <> '';
    UPDATE anytrack.discarded SET error = '' WHERE seq = v_seq AND error <> '';
    UPDATE anytrack.history_attempts SET error = ''
        WHERE last = v_seq AND first = v_seq AND error <> '';
    UPDATE anytrack.history_attempts SET error = ''
        WHERE first < last AND last >= v_seq AND first <= v_seq AND error <> '';
    RETURN QUERY SELECT v_seq, ARRAY(
        SELECT destination FROM anytrack.span
            WHERE lease <> 0 AND first <= v_seq AND last >= v_seq
        UNION SELECT destination FROM anytrack.exception WHERE lease <> 0 AND seq = v_seq
        ORDER BY 1)::text[];
END $$;

-- Return positions and event ids of conversions after a position that were accepted between two
-- times, in order, at most p_limit.
CREATE OR REPLACE FUNCTION anytrack.accepted_v1(
    p_since float8, p_until float8, p_after bigint, p_limit bigint
) RETURNS TABLE (seq bigint, event_id text)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_after bigint := p_after;
    v_found bigint := 0;
    v_part record;
    v_rows bigint;
BEGIN
    PERFORM anytrack.sequence_v1();
    WHILE v_found < p_limit LOOP
        -- Looked up by a range of ids, because the index of ids cannot find single ones fast.
        SELECT min(block) AS first, max(block + n - 1) AS last, max(place + n - 1) AS upto,
            array_agg(block) AS blocks INTO v_part
            FROM (SELECT * FROM anytrack.page
                WHERE place > v_after - 4096 AND place + n > v_after + 1
                    AND at >= p_since AND at <= coalesce(p_until, 'infinity')
                ORDER BY place LIMIT 500) AS part;
        EXIT WHEN v_part.first IS NULL;
        RETURN QUERY SELECT page.place + ids.id - page.block, ids.event_id
            FROM anytrack.ids JOIN anytrack.page ON page.block = (ids.id >> 12) << 12
            WHERE ids.id BETWEEN v_part.first AND v_part.last AND page.block = ANY (v_part.blocks)
                AND page.place + ids.id - page.block > v_after
            ORDER BY 1 LIMIT p_limit - v_found;
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_found := v_found + v_rows;
        v_after := v_part.upto;
    END LOOP;
END $$;

-- Return what is wrong in the tables: a sentence for each kind of damage, no row if all is well.
CREATE OR REPLACE FUNCTION anytrack.verify_v1() RETURNS TABLE (problem text)
LANGUAGE plpgsql SET jit = off AS $$
BEGIN
    PERFORM anytrack.sequence_v1();
    RETURN QUERY SELECT format('%s conversions have no position: their append call is missing', count(*))
        FROM anytrack.log WHERE NOT EXISTS (SELECT FROM anytrack.page
            WHERE block = (log.id >> 12) << 12 AND log.id < block + n)
            AND NOT EXISTS (SELECT FROM anytrack.arrival WHERE block = (log.id >> 12) << 12)
        HAVING count(*) > 0;
    RETURN QUERY SELECT format('positions %s to %s are missing', place + n, next - 1)
        FROM (SELECT place, n, lead(place) OVER (ORDER BY place) AS next FROM anytrack.page) AS pages
        WHERE next > place + n AND next - 1 > (SELECT forgotten FROM anytrack.retention);
    RETURN QUERY SELECT format('%s retries and dead letters have no conversion', count(*))
        FROM anytrack.exception AS e LEFT JOIN LATERAL anytrack.page_at_v1(e.seq) AS page ON true
        WHERE NOT EXISTS (SELECT FROM anytrack.log WHERE log.id = page.block + e.seq - page.place)
        HAVING count(*) > 0;
    RETURN QUERY SELECT format('%s ranges and retries are in a lease that does not exist', count(*))
        FROM (SELECT lease FROM anytrack.span WHERE lease <> 0
            UNION ALL SELECT lease FROM anytrack.exception WHERE lease <> 0) AS leased
        WHERE lease NOT IN (SELECT id FROM anytrack.lease) HAVING count(*) > 0;
    RETURN QUERY SELECT format('%L: counted %s retries and %s dead letters instead of %s and %s',
            d.name, d.pending, d.dead, e.pending, e.dead)
        FROM anytrack.destination AS d CROSS JOIN LATERAL (
            SELECT count(due) AS pending, count(*) - count(due) AS dead
            FROM anytrack.exception WHERE destination = d.name) AS e
        WHERE (d.pending, d.dead) <> (e.pending, e.dead);
    RETURN QUERY SELECT format('%L: the range %s to %s has %s conversions instead of %s',
            span.destination, span.first, span.last, stored.n, span.size)
        FROM anytrack.span CROSS JOIN LATERAL (SELECT count(*) AS n FROM anytrack.read_v1(
            ARRAY[span.first], ARRAY[span.last], span.destination)) AS stored
        WHERE stored.n <> span.size;
    RETURN QUERY SELECT format('%L: of the positions up to its cursor, %s more are accounted for '
            'than there are', name, -delivered)
        FROM anytrack.depths_v1(NULL) WHERE delivered < 0;
    RETURN QUERY SELECT format('%s rows of the history would never be forgotten', count(*)) FROM (
            SELECT first, last, destination FROM anytrack.history_batches
            UNION ALL SELECT first, last, destination FROM anytrack.history_attempts) AS history
        WHERE last > (SELECT max(upto) FROM anytrack.numbering)
            OR destination NOT IN (SELECT name FROM anytrack.destination)
            OR (last <= (SELECT forgotten FROM anytrack.retention)
                AND NOT anytrack.is_remembered_v1(first, last))
        HAVING count(*) > 0;
END $$;
