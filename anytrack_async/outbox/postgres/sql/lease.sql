-- Leasing, as claim_v1 does while it holds the lock of the destination, and returning what was
-- leased.

-- Lease, alone, the isolated conversion that has been due for the longest time; nothing if it has
-- to wait. A conversion is isolated after two of its leases ended without a result, because sending
-- it may end the process. An owner has no other isolated conversion in flight beside one on its
-- last attempt, so that there is no doubt which of them ended the process.
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

-- Lower the floor of a destination if a new lease ends before it, at p_until. That is rare: the
-- lease is shorter than all others, or the clock was set back. Called while the lock of the
-- destination is held.
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
-- leased and 13 to 15 stay released. Called while the lock of the destination is held.
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

-- Lease what fits into one claim: due retries and released ranges, then those of leases that ended,
-- then the conversions behind the cursor. Called while the lock of the destination is held, so that
-- no other claim moves the cursor meanwhile.
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

-- Lease due retries, then released ranges. space: room for more conversions that is left, 0 if the
-- claim is full. Called while the lock of the destination is held.
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

-- Lease the retries that have been due for the longest time, as many as fit. is_full: whether some
-- did not fit. Called while the lock of the destination is held.
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

-- Take over the lease of a destination that ended first; return false if none has ended. The lease
-- counts as an attempt, because sending its conversions may be the reason why its worker died. A
-- worker that settles the same lease at this moment and this function both delete its row, and only
-- one of them can: the other one sees that it is gone, and changes nothing.
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

-- Make the ranges and retries of a lease that was deleted claimable again from p_due on, on the
-- outbox's clock, with p_attempts more attempts and p_lost more lost leases. Safe because the
-- caller has deleted the row of the lease, which only one transaction can.
CREATE OR REPLACE FUNCTION anytrack.return_v1(
    p_lease bigint, p_due float8, p_attempts int, p_lost int
) RETURNS void LANGUAGE sql AS $$
    UPDATE anytrack.span SET lease = 0, due = p_due, attempts = attempts + p_attempts,
        lost = lost + p_lost WHERE lease = p_lease AND lease <> 0;
    UPDATE anytrack.exception SET lease = 0, due = p_due, attempts = attempts + p_attempts,
        lost = lost + p_lost WHERE lease = p_lease AND lease <> 0;
$$;
