-- Ending claims. The statement that deletes the row of the lease decides: only one transaction can
-- delete a row, so a worker that was too late changes nothing. Each lease is looked up by its id
-- alone: as long as a long transaction holds a snapshot, the index by destination has a deleted row
-- for each claim since then, and reading along them would take longer with every claim.

-- End a claim of which everything was delivered; return false if its lease was lost.
CREATE OR REPLACE FUNCTION anytrack.settle_v2(p_destination text, p_lease bigint, p_now float8)
RETURNS bool LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_ended int;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    DELETE FROM anytrack.lease
        WHERE id = p_lease AND (destination = p_destination) IS TRUE;  -- by the index of id alone
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    v_ended := anytrack.end_lease_v2(p_destination, p_lease, '{}', anytrack.now_v1(p_now));
    IF v_ended > 0 THEN
        UPDATE anytrack.destination SET pending = pending - v_ended WHERE name = p_destination;
    END IF;
    RETURN true;
END $$;

-- Delete the ranges and retries of a lease that was deleted, and return how many retries there
-- were. The time of delivery is recorded, except for retries at the positions p_failed. The
-- positions of the retries are noted for retention, which may have passed them already.
CREATE OR REPLACE FUNCTION anytrack.end_lease_v2(
    p_destination text, p_lease bigint, p_failed bigint[], p_at float8
) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    v_ended int;
BEGIN
    WITH ended AS (
        DELETE FROM anytrack.span WHERE lease = p_lease AND lease <> 0 RETURNING first, last
    )
    INSERT INTO anytrack.history_batches (destination, last, first, at)
        SELECT p_destination, last, first, p_at FROM ended
        ON CONFLICT (destination, last) DO UPDATE SET first = excluded.first, at = excluded.at;
    WITH ended AS (
        DELETE FROM anytrack.exception WHERE lease = p_lease AND lease <> 0
            RETURNING seq, attempts
    ), marked AS (
        INSERT INTO anytrack.reclaimable SELECT seq FROM ended ON CONFLICT DO NOTHING
    ), recorded AS (
        INSERT INTO anytrack.history_attempts
                (last, first, destination, at, number, status, error)
            SELECT seq, seq, p_destination, p_at, attempts + 1, 'delivered', '' FROM ended
            WHERE NOT seq = ANY (p_failed)
    )
    SELECT count(*) INTO v_ended FROM ended;
    RETURN v_ended;
END $$;

-- End a claim in which some conversions failed, or for which the destination gave ids; return false
-- if its lease was lost.
--
-- p_seqs, p_attempts, p_dues, p_errors, p_codes, p_https: the failed conversions. A null due makes
--     a dead letter. p_https: the HTTP status of each response, null if there is none.
-- p_lasts, p_firsts, p_packs: the ids that the destination gave, packed by ranges of positions.
-- p_caller: the time on the caller's clock, which p_dues are on too.
CREATE OR REPLACE FUNCTION anytrack.settle_failed_v2(
    p_destination text, p_lease bigint, p_seqs bigint[], p_attempts int[], p_dues float8[],
    p_errors text[], p_codes text[], p_https int[], p_lasts bigint[], p_firsts bigint[],
    p_packs bytea[], p_caller float8, p_now float8
) RETURNS bool LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_now float8 := anytrack.now_v1(p_now);
    v_pending int;
    v_dead int;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    DELETE FROM anytrack.lease
        WHERE id = p_lease AND (destination = p_destination) IS TRUE;  -- by the index of id alone
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    v_pending := -anytrack.end_lease_v2(p_destination, p_lease, p_seqs, v_now);
    INSERT INTO anytrack.exception (seq, destination, attempts, due, error, code, at, bytes)
        SELECT seq, p_destination, attempts, due + v_now - p_caller, error, code, v_now,
            anytrack.bytes_of_v1(seq)
        FROM unnest(p_seqs, p_attempts, p_dues, p_errors, p_codes)
            AS failure (seq, attempts, due, error, code);
    INSERT INTO anytrack.history_attempts
            (last, first, destination, at, number, status, code, http_status, error, due)
        SELECT seq, seq, p_destination, v_now, attempts,
            CASE WHEN due IS NOT NULL THEN 'waiting' WHEN code = 'skipped' THEN 'skipped'
                ELSE 'dead' END,
            code, http, error, due + v_now - p_caller
        FROM unnest(p_seqs, p_attempts, p_dues, p_errors, p_codes, p_https)
            AS failure (seq, attempts, due, error, code, http);
    INSERT INTO anytrack.remote_ids (destination, last, first, packed)
        SELECT p_destination, last, first, packed
        FROM unnest(p_lasts, p_firsts, p_packs) AS pack (last, first, packed)
        ON CONFLICT (destination, last) DO UPDATE
            SET first = excluded.first, packed = excluded.packed;
    SELECT v_pending + count(due), count(*) - count(due) INTO v_pending, v_dead
        FROM unnest(p_dues) AS due;
    IF v_pending <> 0 OR v_dead > 0 THEN
        UPDATE anytrack.destination SET pending = pending + v_pending, dead = dead + v_dead
            WHERE name = p_destination;
    END IF;
    RETURN true;
END $$;

-- settle_v2 as programs of the first release call it.
CREATE OR REPLACE FUNCTION anytrack.settle_v1(p_destination text, p_lease bigint) RETURNS bool
LANGUAGE sql AS $$ SELECT anytrack.settle_v2(p_destination, p_lease, NULL) $$;

-- settle_failed_v2 as programs of the first release call it.
CREATE OR REPLACE FUNCTION anytrack.settle_failed_v1(
    p_destination text, p_lease bigint, p_seqs bigint[], p_attempts int[], p_dues float8[],
    p_errors text[], p_codes text[], p_lasts bigint[], p_firsts bigint[], p_packs bytea[],
    p_caller float8, p_now float8
) RETURNS bool LANGUAGE sql AS $$
    SELECT anytrack.settle_failed_v2(p_destination, p_lease, p_seqs, p_attempts, p_dues, p_errors,
        p_codes, NULL, p_lasts, p_firsts, p_packs, p_caller, p_now)
$$;

-- Return the bytes of memory of the conversion at a position, 0 if it is small.
CREATE OR REPLACE FUNCTION anytrack.bytes_of_v1(p_seq bigint) RETURNS int
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT coalesce(large[p_seq - place + 1], 0) FROM anytrack.page
        WHERE place <= p_seq ORDER BY place DESC LIMIT 1
$$;

-- Extend a lease; return false if it was lost.
CREATE OR REPLACE FUNCTION anytrack.renew_v1(
    p_destination text, p_lease bigint, p_seconds float8, p_now float8
) RETURNS bool LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    -- Never earlier than before: a claim may just have taken that for its floor.
    UPDATE anytrack.lease SET until = greatest(until, anytrack.now_v1(p_now) + p_seconds)
        WHERE id = p_lease AND (destination = p_destination) IS TRUE;
    RETURN FOUND;
END $$;

-- Return the conversions of a claim undelivered, due at p_due on the caller's clock, of which
-- p_caller is the present time; return false if the lease was lost.
CREATE OR REPLACE FUNCTION anytrack.release_v1(
    p_destination text, p_lease bigint, p_due float8, p_attempts int, p_caller float8, p_now float8
) RETURNS bool LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    DELETE FROM anytrack.lease
        WHERE id = p_lease AND (destination = p_destination) IS TRUE;  -- by the index of id alone
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM anytrack.return_v1(
        p_lease, p_due + anytrack.now_v1(p_now) - p_caller, p_attempts, 0);
    RETURN true;
END $$;

-- Do what release_v1 does, after a failure, and record the failure for some ranges of positions of
-- the claim, with the number of the attempt and the reason of each range.
CREATE OR REPLACE FUNCTION anytrack.release_v2(
    p_destination text, p_lease bigint, p_due float8, p_attempts int, p_caller float8, p_now float8,
    p_firsts bigint[], p_lasts bigint[], p_numbers int[], p_errors text[], p_code text, p_http int
) RETURNS bool LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_now float8 := anytrack.now_v1(p_now);
BEGIN
    IF NOT anytrack.release_v1(
            p_destination, p_lease, p_due, p_attempts, p_caller, v_now) THEN
        RETURN false;
    END IF;
    INSERT INTO anytrack.history_attempts
            (last, first, destination, at, number, status, code, http_status, error, due)
        SELECT last, first, p_destination, v_now, number, 'waiting', p_code, p_http, error,
            p_due + v_now - p_caller
        FROM unnest(p_firsts, p_lasts, p_numbers, p_errors) AS failed (first, last, number, error);
    RETURN true;
END $$;
