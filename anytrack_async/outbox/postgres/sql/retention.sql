-- Dropping conversions that every destination has, and forgetting their event ids later. One
-- process at a time does so: others find its lock taken and return. Each call is a step of bounded
-- size.

-- Take one step: drop conversions at up to p_rows positions for each reason, and forget event ids
-- that were dropped more than p_remember seconds ago. more: whether another step may find more.
-- Returns at once if another process is doing it.
CREATE OR REPLACE FUNCTION anytrack.prune_v1(
    p_rows int, p_remember float8, p_now float8, OUT dropped bigint, OUT more bool
) LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_now float8 := anytrack.now_v1(p_now);
    v_step record;
BEGIN
    dropped := 0;
    more := false;
    IF NOT pg_try_advisory_xact_lock(anytrack.retention_lock_v1()) THEN
        RETURN;
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM anytrack.tidy_v1();
    SELECT * INTO v_step FROM anytrack.drop_reclaimable_v1(p_rows, v_now);
    dropped := dropped + v_step.dropped;
    more := more OR v_step.more;
    SELECT * INTO v_step FROM anytrack.drop_settled_v1(p_rows, v_now);
    dropped := dropped + v_step.dropped;
    more := more OR v_step.more;
    SELECT * INTO v_step FROM anytrack.drop_addressed_v1(p_rows, v_now);
    dropped := dropped + v_step.dropped;
    more := more OR v_step.more;
    more := anytrack.forget_ids_v1(p_rows, v_now - p_remember) OR more;
    more := anytrack.forget_late_v1(p_rows, v_now - p_remember) OR more;
END $$;

-- Delete the arrivals that have a position and whose transactions had ended before the stored
-- snapshot, so that they are never new again. An arrival that has none although its transaction is
-- over gets one: it can only be left behind where a database was restored, and written to before
-- anything was claimed.
CREATE OR REPLACE FUNCTION anytrack.tidy_v1() RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_last anytrack.numbering;
BEGIN
    SELECT * INTO v_last FROM anytrack.numbering ORDER BY upto DESC, n DESC LIMIT 1;
    DELETE FROM anytrack.arrival WHERE xid < pg_snapshot_xmin(v_last.snap)
        AND EXISTS (SELECT FROM anytrack.page WHERE page.block = arrival.block);
    IF EXISTS (SELECT FROM anytrack.arrival WHERE xid < pg_snapshot_xmin(v_last.snap)
            AND NOT EXISTS (SELECT FROM anytrack.page WHERE page.block = arrival.block)) THEN
        PERFORM pg_advisory_xact_lock('anytrack.numbering'::regclass::oid::bigint << 32);
        SELECT * INTO v_last FROM anytrack.numbering ORDER BY upto DESC, n DESC LIMIT 1;
        PERFORM anytrack.renumber_v1(v_last);
    END IF;
END $$;

-- Drop the conversions at the positions where an exception ended, if no destination needs them.
CREATE OR REPLACE FUNCTION anytrack.drop_reclaimable_v1(
    p_rows int, p_now float8, OUT dropped bigint, OUT more bool
) LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_seqs bigint[];
    v_pruned bigint := (SELECT pruned FROM anytrack.retention);
BEGIN
    WITH taken AS (
        DELETE FROM anytrack.reclaimable WHERE seq IN (
            SELECT seq FROM anytrack.reclaimable ORDER BY seq LIMIT p_rows) RETURNING seq)
    SELECT array_agg(seq), count(*) = p_rows INTO v_seqs, more FROM taken;
    WITH gone AS (
        DELETE FROM anytrack.log USING unnest(v_seqs) AS seq, LATERAL anytrack.page_at_v1(seq) AS page
            WHERE log.id = page.block + seq - page.place
                AND (seq <= v_pruned OR anytrack.has_all_v1(page.recipients, seq))
                AND NOT EXISTS (SELECT FROM anytrack.exception WHERE exception.seq = seq.seq)
            RETURNING seq.seq
    ), marked AS (
        INSERT INTO anytrack.late (seq, at) SELECT gone.seq, p_now FROM gone
    )
    SELECT count(*) INTO dropped FROM gone;
END $$;

-- Return whether each recipient is registered and has everything up to a position, except
-- exceptions.
CREATE OR REPLACE FUNCTION anytrack.has_all_v1(p_recipients text[], p_seq bigint) RETURNS bool
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT coalesce(bool_and(coalesce(anytrack.settled_v1(name) >= p_seq, false)), false)
    FROM unnest(p_recipients) AS name
$$;

-- Drop the conversions at the next positions that every destination has settled, except those with
-- an exception. Nothing appears at these positions later, because sequence_v1 gives each position
-- once.
CREATE OR REPLACE FUNCTION anytrack.drop_settled_v1(
    p_rows int, p_now float8, OUT dropped bigint, OUT more bool
) LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_pruned bigint := (SELECT pruned FROM anytrack.retention);
    v_settled bigint := (SELECT min(anytrack.settled_v1(name)) FROM anytrack.destination);
    v_last bigint := least(v_pruned + p_rows, v_settled);
BEGIN
    dropped := 0;
    more := false;
    IF v_settled IS NULL OR v_last <= v_pruned THEN
        RETURN;
    END IF;
    DELETE FROM anytrack.log USING anytrack.page
        WHERE page.place <= v_last AND page.place >= coalesce((SELECT place FROM anytrack.page
                WHERE place <= v_pruned + 1 ORDER BY place DESC LIMIT 1), 0)
            AND page.dropped_at IS NULL
            AND log.id BETWEEN page.block + greatest(v_pruned + 1 - page.place, 0)
                AND page.block + least(v_last - page.place, page.n - 1)
            AND NOT EXISTS (SELECT FROM anytrack.exception
                WHERE exception.seq = page.place + log.id - page.block);
    GET DIAGNOSTICS dropped = ROW_COUNT;
    IF dropped > 0 THEN
        INSERT INTO anytrack.dropped (upto, at) VALUES (v_last, p_now);
    END IF;
    UPDATE anytrack.retention SET pruned = v_last;
    more := v_last < v_settled;
END $$;

-- Drop the conversions of append calls that are addressed to some destinations only, if all of
-- these have them, although another destination is behind.
CREATE OR REPLACE FUNCTION anytrack.drop_addressed_v1(
    p_rows int, p_now float8, OUT dropped bigint, OUT more bool
) LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_page record;
    v_count bigint;
BEGIN
    dropped := 0;
    more := false;
    FOR v_page IN SELECT place, block, n FROM anytrack.page
        WHERE recipients IS NOT NULL AND dropped_at IS NULL
            AND place > (SELECT pruned FROM anytrack.retention)
            AND anytrack.has_all_v1(recipients, place + n - 1)
        ORDER BY place
    LOOP
        DELETE FROM anytrack.log WHERE id BETWEEN v_page.block AND v_page.block + v_page.n - 1
            AND NOT EXISTS (SELECT FROM anytrack.exception
                WHERE exception.seq = v_page.place + log.id - v_page.block);
        GET DIAGNOSTICS v_count = ROW_COUNT;
        dropped := dropped + v_count;
        UPDATE anytrack.page SET dropped_at = p_now WHERE place = v_page.place;
        IF dropped >= p_rows THEN
            more := true;
            RETURN;
        END IF;
    END LOOP;
END $$;

-- Return whether anything in a range of positions is still stored, or its event id is still
-- remembered because it was dropped later than those around it.
CREATE OR REPLACE FUNCTION anytrack.is_remembered_v1(p_first bigint, p_last bigint) RETURNS bool
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT p_last > (SELECT forgotten FROM anytrack.retention)
        OR EXISTS (SELECT FROM anytrack.late WHERE seq BETWEEN p_first AND p_last)
        OR EXISTS (SELECT FROM anytrack.page CROSS JOIN LATERAL (SELECT FROM anytrack.log
                WHERE log.id BETWEEN page.block + greatest(p_first - page.place, 0)
                    AND page.block + least(p_last - page.place, page.n - 1) LIMIT 1) AS stored
            WHERE page.place <= p_last AND page.place >= coalesce((SELECT place FROM anytrack.page
                WHERE place <= p_first ORDER BY place DESC LIMIT 1), p_first))
        OR EXISTS (SELECT FROM anytrack.page WHERE place + n > p_first AND place <= p_last
            AND dropped_at < 'infinity')
$$;

-- Forget the event ids of conversions that were dropped before a time, except those that were
-- dropped later than the ones around them; return whether there may be more.
CREATE OR REPLACE FUNCTION anytrack.forget_ids_v1(p_rows int, p_before float8) RETURNS bool
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_first bigint := (SELECT forgotten + 1 FROM anytrack.retention);
    v_dropped bigint := (SELECT max(upto) FROM anytrack.dropped WHERE at <= p_before);
    v_last bigint := least(v_dropped, v_first - 1 + p_rows);
    v_range record;
BEGIN
    IF v_dropped IS NULL OR v_last < v_first THEN
        RETURN false;
    END IF;
    SELECT min(block) AS first, max(block + n - 1) AS last INTO v_range FROM anytrack.page
        WHERE place <= v_last AND place + n > v_first;
    DELETE FROM anytrack.ids USING anytrack.page
        WHERE ids.id BETWEEN v_range.first AND v_range.last
            AND page.block = (ids.id >> 12) << 12 AND page.dropped_at IS NULL
            AND page.place + ids.id - page.block BETWEEN v_first AND v_last
            AND NOT EXISTS (SELECT FROM anytrack.log WHERE log.id = ids.id)
            AND NOT EXISTS (SELECT FROM anytrack.late
                WHERE late.seq = page.place + ids.id - page.block);
    UPDATE anytrack.retention SET forgotten = v_last;
    PERFORM anytrack.forget_rest_v1(v_first, v_last);
    DELETE FROM anytrack.dropped WHERE upto <= v_last;
    RETURN v_last < v_dropped;
END $$;

-- Delete everything else about the positions in a range whose event ids are forgotten.
CREATE OR REPLACE FUNCTION anytrack.forget_rest_v1(p_first bigint, p_last bigint) RETURNS void
LANGUAGE sql SET jit = off SET enable_seqscan = off AS $$
    DELETE FROM anytrack.discarded WHERE seq BETWEEN p_first AND p_last
        AND NOT anytrack.is_remembered_v1(seq, seq);
    DELETE FROM anytrack.remote_ids USING anytrack.destination
        WHERE destination = name AND last BETWEEN p_first AND p_last + 32 AND first <= p_last
            AND NOT anytrack.is_remembered_v1(first, last);
    DELETE FROM anytrack.history_batches AS batch USING anytrack.destination
        WHERE batch.destination = name AND batch.last BETWEEN p_first AND (
                SELECT coalesce(min(last), p_last) FROM anytrack.history_batches
                WHERE destination = name AND last >= p_last)
            AND batch.first <= p_last AND NOT anytrack.is_remembered_v1(batch.first, batch.last);
    DELETE FROM anytrack.history_attempts WHERE last BETWEEN p_first AND p_last AND first = last
        AND NOT anytrack.is_remembered_v1(last, last);
    DELETE FROM anytrack.history_attempts
        WHERE first < last AND last >= p_first AND first <= p_last
        AND NOT anytrack.is_remembered_v1(first, last);
    DELETE FROM anytrack.page WHERE place <= p_last AND place >= (SELECT place FROM anytrack.page
            WHERE place <= p_first ORDER BY place DESC LIMIT 1)
        AND NOT anytrack.is_remembered_v1(place, place + n - 1);
$$;

-- Forget the event ids of conversions that were dropped later than those around them, and before a
-- time; return whether there may be more.
CREATE OR REPLACE FUNCTION anytrack.forget_late_v1(p_rows int, p_before float8) RETURNS bool
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_page record;
    v_rows int := 0;
BEGIN
    FOR v_page IN
        SELECT page.place, page.block, page.n, array_agg(late.seq) AS seqs
        FROM (SELECT seq FROM anytrack.late WHERE at <= p_before ORDER BY at LIMIT p_rows) AS late,
            LATERAL anytrack.page_at_v1(seq) AS page
        GROUP BY page.place, page.block, page.n
    LOOP
        DELETE FROM anytrack.ids WHERE id BETWEEN v_page.block AND v_page.block + v_page.n - 1
            AND v_page.place + id - v_page.block = ANY (v_page.seqs);
        DELETE FROM anytrack.late WHERE seq = ANY (v_page.seqs);
        PERFORM anytrack.forget_rest_v1(v_page.place, v_page.place + v_page.n - 1);
        v_rows := v_rows + cardinality(v_page.seqs);
    END LOOP;
    FOR v_page IN SELECT place, block, n FROM anytrack.page
        WHERE dropped_at <= p_before ORDER BY dropped_at LIMIT p_rows
    LOOP
        DELETE FROM anytrack.ids WHERE id BETWEEN v_page.block AND v_page.block + v_page.n - 1
            AND NOT EXISTS (SELECT FROM anytrack.log WHERE log.id = ids.id)
            AND NOT EXISTS (SELECT FROM anytrack.late
                WHERE late.seq = v_page.place + ids.id - v_page.block);
        -- Not null: it would be looked at again. The row stays, as positions must have no gaps.
        UPDATE anytrack.page SET dropped_at = 'infinity' WHERE place = v_page.place;
        PERFORM anytrack.forget_rest_v1(v_page.place, v_page.place + v_page.n - 1);
        v_rows := v_rows + v_page.n;
    END LOOP;
    RETURN v_rows >= p_rows;
END $$;
