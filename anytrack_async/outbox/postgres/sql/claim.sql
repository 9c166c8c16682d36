-- Claiming: what a destination gets next. A claim of new conversions writes three rows, however
-- many it contains: the lease, the range of positions that the lease covers, and the new cursor.
-- The settings of the planner are those of the functions that programs call; the functions called
-- from there have them too.

-- Return the key of the advisory lock of a destination, under which claims of that destination take
-- turns.
CREATE OR REPLACE FUNCTION anytrack.lock_of_v1(p_destination text) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT ('anytrack.lease'::regclass::oid::bigint << 32)
        | (hashtext(p_destination)::bigint & 4294967295)
$$;

-- Return where a destination stands: its cursor, and when its first retry or released range is due,
-- when its first isolated conversion is due, and when its first lease ends; null for each that it
-- has none of. The error ATUD1 means that the destination is not registered.
CREATE OR REPLACE FUNCTION anytrack.forecast_v1(
    p_destination text, OUT cursor bigint, OUT floor float8, OUT skipped bigint,
    OUT due float8, OUT isolated_due float8, OUT lease_until float8
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT p.cursor, p.floor, p.skipped INTO cursor, floor, skipped FROM anytrack.progress AS p
        WHERE p.destination = p_destination ORDER BY p.cursor DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown destination' USING ERRCODE = 'ATUD1';
    END IF;
    SELECT least(
        (SELECT min(e.due) FROM anytrack.exception AS e WHERE e.destination = p_destination
            AND e.due IS NOT NULL AND e.lease = 0 AND e.lost < 2),
        (SELECT min(s.due) FROM anytrack.span AS s WHERE s.destination = p_destination
            AND s.lease = 0 AND s.lost < 2)),
        least(
        (SELECT min(e.due) FROM anytrack.exception AS e WHERE e.destination = p_destination
            AND e.due IS NOT NULL AND e.lease = 0 AND e.lost >= 2),
        (SELECT min(s.due) FROM anytrack.span AS s WHERE s.destination = p_destination
            AND s.lease = 0 AND s.lost >= 2)),
        (SELECT min(l.until) FROM anytrack.lease AS l
            WHERE l.destination = p_destination AND l.until >= forecast_v1.floor)
        INTO due, isolated_due, lease_until;
END $$;

-- Return how much of a range of positions fits into a claim with room for p_space conversions and
-- the given bytes; a small conversion counts 2,048 bytes.
--
-- size: conversions that are addressed to the destination and fit, all between head and tail.
-- upto: the position up to which the range was looked at. is_full: whether anything had to be left.
-- p_is_empty: whether the claim is still empty; then one conversion fits, whatever its size.
CREATE OR REPLACE FUNCTION anytrack.fit_v1(
    p_destination text, p_first bigint, p_last bigint, p_space int, p_is_empty bool,
    INOUT bytes bigint, INOUT large_bytes bigint,
    OUT size int, OUT head bigint, OUT tail bigint, OUT upto bigint, OUT is_full bool
) LANGUAGE plpgsql AS $$
DECLARE
    v_page record;
    v_first bigint;
    v_count int;
    v_bytes int;
BEGIN
    -- Usually all conversions are small, and addressed to every destination.
    IF NOT EXISTS (SELECT FROM anytrack.page WHERE place > p_first - 4096 AND place <= p_last
            AND (recipients IS NOT NULL OR page.large IS NOT NULL)) THEN
        size := least(p_space, bytes / 2048, p_last - p_first + 1);
        bytes := bytes - 2048 * size::bigint;
        head := p_first;
        upto := p_first + size - 1;
        tail := upto;
        is_full := upto < p_last;
        RETURN;
    END IF;
    size := 0;
    is_full := false;
    FOR v_page IN SELECT place, place + n - 1 AS last, recipients, large FROM anytrack.page
        WHERE place <= p_last AND place >= (SELECT place FROM anytrack.page WHERE place <= p_first
            ORDER BY place DESC LIMIT 1) ORDER BY place
    LOOP
        v_first := greatest(v_page.place, p_first);
        v_page.last := least(v_page.last, p_last);
        IF NOT p_destination = ANY (v_page.recipients) THEN
            CONTINUE;
        END IF;
        IF v_page.large IS NULL THEN
            v_count := least(p_space - size, bytes / 2048, v_page.last - v_first + 1);
            bytes := bytes - 2048 * v_count::bigint;
            is_full := v_count < v_page.last - v_first + 1;
        ELSE
            v_count := 0;
            FOREACH v_bytes IN ARRAY v_page.large[v_first - v_page.place + 1 :
                v_page.last - v_page.place + 1]
            LOOP
                is_full := size + v_count >= p_space OR (greatest(v_bytes, 2048) > bytes
                    AND NOT (p_is_empty AND size + v_count = 0));
                EXIT WHEN is_full;
                v_count := v_count + 1;
                bytes := bytes - greatest(v_bytes, 2048);
                large_bytes := large_bytes + v_bytes;
            END LOOP;
        END IF;
        IF v_count > 0 THEN
            head := coalesce(head, v_first);
            tail := v_first + v_count - 1;
            size := size + v_count;
        END IF;
        EXIT WHEN is_full;
    END LOOP;
    upto := CASE WHEN is_full THEN coalesce(tail, p_first - 1) ELSE p_last END;
END $$;

-- Claim conversions of a destination: an isolated one that is due, or else those that are due again
-- and then new ones behind the cursor.
--
-- Claims of a destination take turns by an advisory lock, and sequence_v1 never gives a position
-- below the cursor. So each conversion is in one claim at a time, and none is skipped, in whatever
-- order the transactions of appends commit.
--
-- p_lease: a random number that no lease had before. p_owner: the same for the outbox object.
-- p_limit: how many conversions at most. p_bytes: how many bytes of memory they may take.
-- p_seconds: how long the lease lasts. p_attempts: how many attempts a conversion may make, 0 if
--     that is not known.
-- now: the time on the outbox's clock. firsts, lasts, attempts, lost: ranges of positions, with the
--     attempts that their conversions have made and the leases that they have lost; all null if
--     there is nothing to claim.
-- next_due: when to claim again if nothing was claimed. is_behind: whether to claim again at once.
CREATE OR REPLACE FUNCTION anytrack.claim_v1(
    p_destination text, p_lease bigint, p_limit int, p_seconds float8, p_bytes bigint,
    p_owner bigint, p_attempts int, p_now float8,
    OUT now float8, OUT firsts bigint[], OUT lasts bigint[], OUT attempts int[], OUT lost int[],
    OUT large_bytes bigint, OUT next_due float8, OUT is_behind bool
) LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    v_upto bigint := anytrack.sequence_v1();
    v_next record;
    v_claim record;
    v_wait bool := false;
BEGIN
    IF current_setting('transaction_read_only')::bool THEN
        RAISE EXCEPTION 'conversions cannot be claimed in a read-only transaction'
            USING ERRCODE = '25006';
    END IF;
    now := anytrack.now_v1(p_now);
    is_behind := false;
    -- A look without a lock: most claims of an idle destination end here, and write nothing.
    IF p_limit <= 0 OR NOT EXISTS (SELECT FROM (SELECT cursor FROM anytrack.progress
            WHERE destination = p_destination ORDER BY cursor DESC LIMIT 1) AS p
            WHERE cursor < v_upto) THEN
        SELECT * INTO v_next FROM anytrack.forecast_v1(p_destination);
        next_due := least(v_next.due, v_next.isolated_due, v_next.lease_until);
        IF p_limit <= 0 OR coalesce(next_due > now, true) THEN
            RETURN;
        END IF;
    END IF;
    PERFORM pg_advisory_xact_lock(anytrack.lock_of_v1(p_destination));
    -- A claim that is lost in a crash means that conversions are sent again, as without this.
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR i IN 1..3 LOOP
        SELECT * INTO v_next FROM anytrack.forecast_v1(p_destination);
        IF v_next.isolated_due <= now THEN
            SELECT * INTO v_claim FROM anytrack.lease_isolated_v1(
                p_destination, p_lease, p_seconds, p_owner, p_attempts, now, v_next.floor);
            v_wait := v_claim.firsts IS NULL;
        END IF;
        IF v_claim IS NULL OR v_wait THEN
            SELECT * INTO v_claim FROM anytrack.lease_several_v1(
                p_destination, p_lease, p_limit, p_seconds, p_bytes, p_owner, now, v_upto,
                v_next.cursor, v_next.floor, v_next.skipped, v_next.due, v_next.lease_until);
        END IF;
        IF v_claim.firsts IS NOT NULL THEN
            firsts := v_claim.firsts;
            lasts := v_claim.lasts;
            attempts := v_claim.attempts;
            lost := v_claim.lost;
            large_bytes := v_claim.large_bytes;
            RETURN;
        END IF;
        -- A lease that ended may have left isolated conversions: look again.
        SELECT * INTO v_next FROM anytrack.forecast_v1(p_destination);
        next_due := least(v_next.due, v_next.isolated_due, v_next.lease_until);
        is_behind := v_next.cursor < v_upto;
        EXIT WHEN v_wait OR is_behind OR coalesce(next_due > now, true);
        v_claim := NULL;
    END LOOP;
    IF v_wait THEN
        next_due := now + 0.02;
    END IF;
END $$;
