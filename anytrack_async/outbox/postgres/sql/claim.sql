-- Leasing conversions. A claim of new conversions writes three rows, however many it contains: the
-- lease, the range of positions that it covers, and the new cursor. The functions that others call
-- have the settings of the planner; those that they use have them from there.

-- The key of the advisory lock on a destination.
CREATE OR REPLACE FUNCTION anytrack.lock_of_v1(p_destination text) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT ('anytrack.lease'::regclass::oid::bigint << 32)
        | (hashtext(p_destination)::bigint & 4294967295)
$$;

-- What is next for a destination: its cursor, and when the first retry, released range and isolated
-- conversion are due and the first lease ends.
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

-- How much of a range of positions fits into a claim.
--
-- size conversions of the range are addressed to the destination and fit; they are between head and
-- tail. upto is the position up to which the range was looked at, is_full whether the claim is full.
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

-- Lease conversions of a destination.
--
-- p_lease: a random number that no lease had before. p_owner: the same for the outbox object.
-- p_attempts: how many attempts a conversion may make, 0 if that is not known.
-- now: the time on the clock of the outbox. firsts, lasts, attempts, lost: ranges of positions with
-- the attempts that their conversions have made and the leases they have lost; all empty if nothing
-- could be claimed. next_due: then, when to claim again. is_behind: whether to claim again at once.
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

-- Lease the isolated conversion that has been due longest; nothing if it has to wait. On the last
-- attempt of one, its owner has no other in flight: so the one that ends the process is known.
CREATE OR REPLACE FUNCTION anytrack.lease_isolated_v1(
    p_destination text, p_lease bigint, p_seconds float8, p_owner bigint, p_attempts int,
    p_now float8, p_floor float8,
    OUT firsts bigint[], OUT lasts bigint[], OUT attempts int[], OUT lost int[],
    OUT large_bytes bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_retry record;
    v_span anytrack.span;
    v_fit record;
    v_alone int;
    v_other int;
BEGIN
    SELECT seq, attempts, lost, bytes INTO v_retry FROM anytrack.exception
        WHERE destination = p_destination AND due <= p_now AND lease = 0 AND lost >= 2
        ORDER BY due, seq LIMIT 1;
    IF v_retry.seq IS NULL THEN
        SELECT * INTO v_span FROM anytrack.span
            WHERE destination = p_destination AND due <= p_now AND lease = 0 AND lost >= 2
            ORDER BY due, first LIMIT 1;
        IF v_span.id IS NULL THEN
            RETURN;
        END IF;
    END IF;
    v_alone := CASE WHEN coalesce(v_retry.attempts, v_span.attempts) + 1 >= p_attempts THEN 2 ELSE 1 END;
    SELECT max(alone) INTO v_other FROM anytrack.lease
        WHERE owner = p_owner AND alone > 0 AND until > p_now;
    IF greatest(v_alone, v_other) > 1 AND v_other IS NOT NULL THEN
        RETURN;
    END IF;
    IF v_retry.seq IS NOT NULL THEN
        UPDATE anytrack.exception SET lease = p_lease
            WHERE seq = v_retry.seq AND destination = p_destination;
        firsts := ARRAY[v_retry.seq];
        lasts := firsts;
        attempts := ARRAY[v_retry.attempts];
        lost := ARRAY[v_retry.lost];
        large_bytes := v_retry.bytes;
    ELSE
        SELECT * INTO v_fit FROM anytrack.fit_v1(
            p_destination, v_span.first, v_span.last, 1, true, 2048, 0);
        PERFORM anytrack.lease_span_v1(v_span, p_lease, v_fit.size, v_fit.tail);
        firsts := ARRAY[v_fit.head];
        lasts := ARRAY[v_fit.tail];
        attempts := ARRAY[v_span.attempts];
        lost := ARRAY[v_span.lost];
        large_bytes := v_fit.large_bytes;
    END IF;
    INSERT INTO anytrack.lease (id, destination, until, owner, alone)
        VALUES (p_lease, p_destination, p_now + p_seconds, p_owner, v_alone);
    PERFORM anytrack.lower_floor_v1(p_destination, p_floor, p_now + p_seconds);
END $$;

-- A lease ends at p_until: let the floor be no later. That is rare: only if it is shorter than all
-- others, or the clock was set back.
CREATE OR REPLACE FUNCTION anytrack.lower_floor_v1(
    p_destination text, p_floor float8, p_until float8
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_until < p_floor THEN
        UPDATE anytrack.progress SET floor = p_until WHERE destination = p_destination
            AND cursor = (SELECT cursor FROM anytrack.progress
                WHERE destination = p_destination ORDER BY cursor DESC LIMIT 1);
    END IF;
END $$;

-- Lease a released range, or its beginning up to the position p_tail: of 11 to 15, 11 and 12 are
-- leased, and 13 to 15 stay released.
CREATE OR REPLACE FUNCTION anytrack.lease_span_v1(
    p_span anytrack.span, p_lease bigint, p_size int, p_tail bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_size >= p_span.size THEN
        UPDATE anytrack.span SET lease = p_lease WHERE id = p_span.id;
        RETURN;
    END IF;
    UPDATE anytrack.span SET first = p_tail + 1, size = size - p_size WHERE id = p_span.id;
    INSERT INTO anytrack.span (destination, first, last, size, attempts, lost, lease)
        VALUES (p_span.destination, p_span.first, p_tail, p_size, p_span.attempts, p_span.lost, p_lease);
END $$;

-- Lease due retries, then released ranges and ended leases, then what follows the cursor. Called with
-- the lock of the destination.
CREATE OR REPLACE FUNCTION anytrack.lease_several_v1(
    p_destination text, p_lease bigint, p_limit int, p_seconds float8, p_bytes bigint,
    p_owner bigint, p_now float8, p_upto bigint, p_cursor bigint, p_floor float8, p_skipped bigint,
    p_due float8, p_lease_until float8,
    OUT firsts bigint[], OUT lasts bigint[], OUT attempts int[], OUT lost int[],
    OUT large_bytes bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_space int := p_limit;
    v_bytes bigint := p_bytes;
    v_is_due bool := coalesce(p_due <= p_now, false);
    v_part record;
    v_fit record;
    v_floor float8 := p_floor;
BEGIN
    large_bytes := 0;
    -- One lease at a time, and only while there is space: a worker that is merely late keeps its
    -- lease unless it is needed.
    WHILE v_is_due OR p_lease_until <= p_now LOOP
        IF v_is_due THEN
            SELECT * INTO v_part FROM anytrack.lease_due_v1(
                p_destination, p_lease, v_space, v_bytes, firsts IS NULL, p_now);
            firsts := firsts || v_part.firsts;
            lasts := lasts || v_part.lasts;
            attempts := attempts || v_part.attempts;
            lost := lost || v_part.lost;
            v_space := v_part.space;
            v_bytes := v_part.bytes;
            large_bytes := large_bytes + v_part.large_bytes;
        END IF;
        EXIT WHEN v_space <= 0;
        v_is_due := coalesce(p_lease_until <= p_now, false)
            AND anytrack.expire_v1(p_destination, p_floor, p_now);
        EXIT WHEN NOT v_is_due;
    END LOOP;
    IF v_space > 0 AND p_cursor < p_upto THEN
        SELECT * INTO v_fit FROM anytrack.fit_v1(p_destination, p_cursor + 1,
            least(p_upto, p_cursor + 20000), v_space, firsts IS NULL, v_bytes, large_bytes);
        large_bytes := v_fit.large_bytes;
        IF v_fit.size > 0 THEN
            INSERT INTO anytrack.span (destination, first, last, size, lease)
                VALUES (p_destination, v_fit.head, v_fit.tail, v_fit.size, p_lease);
            firsts := firsts || v_fit.head;
            lasts := lasts || v_fit.tail;
            attempts := attempts || 0;
            lost := lost || 0;
        END IF;
        IF v_fit.upto > p_cursor THEN
            -- The first of the leases that are left, if none has ended and was taken over.
            IF p_lease_until IS NULL OR p_lease_until > p_now THEN
                v_floor := coalesce(p_lease_until,
                    CASE WHEN firsts IS NOT NULL THEN p_now + p_seconds END, p_floor);
            END IF;
            INSERT INTO anytrack.progress (destination, cursor, floor, skipped)
                VALUES (p_destination, v_fit.upto, v_floor,
                    p_skipped + v_fit.upto - p_cursor - v_fit.size);
            DELETE FROM anytrack.progress
                WHERE destination = p_destination AND cursor = p_cursor;
        END IF;
    END IF;
    IF firsts IS NOT NULL THEN
        INSERT INTO anytrack.lease (id, destination, until, owner)
            VALUES (p_lease, p_destination, p_now + p_seconds, p_owner);
        PERFORM anytrack.lower_floor_v1(p_destination, v_floor, p_now + p_seconds);
    END IF;
END $$;

-- Lease due retries, then released ranges. space is what is left, 0 if the claim is full.
CREATE OR REPLACE FUNCTION anytrack.lease_due_v1(
    p_destination text, p_lease bigint, INOUT space int, INOUT bytes bigint, p_is_empty bool,
    p_now float8, OUT firsts bigint[], OUT lasts bigint[], OUT attempts int[], OUT lost int[],
    OUT large_bytes bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_part record;
    v_span anytrack.span;
    v_fit record;
BEGIN
    large_bytes := 0;
    SELECT * INTO v_part FROM anytrack.lease_retries_v1(
        p_destination, p_lease, space, bytes, p_is_empty, p_now);
    IF v_part.firsts IS NOT NULL THEN
        firsts := v_part.firsts;
        lasts := v_part.firsts;
        attempts := v_part.attempts;
        lost := v_part.lost;
        space := space - cardinality(v_part.firsts);
        bytes := bytes - v_part.bytes;
        large_bytes := v_part.large_bytes;
    END IF;
    IF v_part.is_full THEN
        space := 0;
    END IF;
    FOR v_span IN SELECT * FROM anytrack.span
        WHERE destination = p_destination AND due <= p_now AND lease = 0 AND lost < 2
        ORDER BY due, first LIMIT space
    LOOP
        EXIT WHEN space <= 0;
        SELECT * INTO v_fit FROM anytrack.fit_v1(p_destination, v_span.first, v_span.last,
            space, p_is_empty AND firsts IS NULL, bytes, large_bytes);
        bytes := v_fit.bytes;
        large_bytes := v_fit.large_bytes;
        IF v_fit.size > 0 THEN
            PERFORM anytrack.lease_span_v1(v_span, p_lease, v_fit.size, v_fit.tail);
            firsts := firsts || v_fit.head;
            lasts := lasts || v_fit.tail;
            attempts := attempts || v_span.attempts;
            lost := lost || v_span.lost;
            space := space - v_fit.size;
        END IF;
        IF v_fit.is_full THEN
            space := 0;
        END IF;
    END LOOP;
END $$;

-- Lease the retries that have been due longest.
CREATE OR REPLACE FUNCTION anytrack.lease_retries_v1(
    p_destination text, p_lease bigint, p_space int, p_bytes bigint, p_is_empty bool, p_now float8,
    OUT firsts bigint[], OUT attempts int[], OUT lost int[], OUT bytes bigint,
    OUT large_bytes bigint, OUT is_full bool
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_due int;
BEGIN
    WITH due AS (
        SELECT seq, attempts, lost, bytes, sum(greatest(bytes, 2048)) OVER turn AS total,
            row_number() OVER turn AS n
        FROM anytrack.exception
        WHERE destination = p_destination AND due <= p_now AND lease = 0 AND lost < 2
        WINDOW turn AS (ORDER BY due, seq) ORDER BY due, seq LIMIT p_space
    )
    SELECT array_agg(seq) FILTER (WHERE fits), array_agg(attempts) FILTER (WHERE fits),
        array_agg(lost) FILTER (WHERE fits), max(total) FILTER (WHERE fits),
        sum(bytes) FILTER (WHERE fits), count(*)
        INTO firsts, attempts, lost, bytes, large_bytes, v_due
        FROM (SELECT *, total <= p_bytes OR (n = 1 AND p_is_empty) AS fits FROM due) AS fitting;
    is_full := v_due > coalesce(cardinality(firsts), 0);
    IF firsts IS NOT NULL THEN
        UPDATE anytrack.exception SET lease = p_lease
            WHERE seq = ANY (firsts) AND destination = p_destination;
    END IF;
END $$;

-- Take over the lease of a destination that ended first; false if none has. It counts as an attempt,
-- because its conversions may be the reason that its worker died.
CREATE OR REPLACE FUNCTION anytrack.expire_v1(p_destination text, p_floor float8, p_now float8)
RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
    v_lease record;
BEGIN
    DELETE FROM anytrack.lease WHERE id = (
        SELECT id FROM anytrack.lease
            WHERE destination = p_destination AND until >= p_floor AND until <= p_now
            ORDER BY until, id LIMIT 1 FOR UPDATE) AND until <= p_now
        RETURNING id, until INTO v_lease;
    IF v_lease.id IS NULL THEN
        RETURN false;  -- or it was settled or renewed at this moment
    END IF;
    PERFORM anytrack.add_lost_v1(v_lease.id, p_now);
    PERFORM anytrack.return_v1(v_lease.id, v_lease.until, 1, 1);
    RETURN true;
END $$;

-- Return the conversions of a lease that was deleted.
CREATE OR REPLACE FUNCTION anytrack.return_v1(
    p_lease bigint, p_due float8, p_attempts int, p_lost int
) RETURNS void LANGUAGE sql AS $$
    UPDATE anytrack.span SET lease = 0, due = p_due, attempts = attempts + p_attempts,
        lost = lost + p_lost WHERE lease = p_lease AND lease <> 0;
    UPDATE anytrack.exception SET lease = 0, due = p_due, attempts = attempts + p_attempts,
        lost = lost + p_lost WHERE lease = p_lease AND lease <> 0;
$$;
