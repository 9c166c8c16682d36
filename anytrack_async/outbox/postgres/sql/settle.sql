-- Ending claims. Deleting the lease is what decides: it is there for one worker only, so a worker
-- that was too late changes nothing. While a snapshot is held, the index of lease by destination has
-- a deleted row for each claim since then, so nothing may look for a lease there that has its id.

-- End a claim of which everything was delivered; false if the lease was lost.
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

-- Delete the ranges and retries of a lease and return how many retries there were. When they were
-- delivered is recorded, except for the retries at the positions p_failed. The conversions of retries
-- may be dropped, where retention has looked already.
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

-- End a claim with failures, or with ids that the destination gave; false if the lease was lost.
--
-- p_caller: the caller's time now; p_dues are on its clock. A null due makes a dead letter. p_https:
-- the status of each response, where that is known.
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

-- The same as programs of the first release call it.
CREATE OR REPLACE FUNCTION anytrack.settle_v1(p_destination text, p_lease bigint) RETURNS bool
LANGUAGE sql AS $$ SELECT anytrack.settle_v2(p_destination, p_lease, NULL) $$;

CREATE OR REPLACE FUNCTION anytrack.settle_failed_v1(
    p_destination text, p_lease bigint, p_seqs bigint[], p_attempts int[], p_dues float8[],
    p_errors text[], p_codes text[], p_lasts bigint[], p_firsts bigint[], p_packs bytea[],
    p_caller float8, p_now float8
) RETURNS bool LANGUAGE sql AS $$
    SELECT anytrack.settle_failed_v2(p_destination, p_lease, p_seqs, p_attempts, p_dues, p_errors,
        p_codes, NULL, p_lasts, p_firsts, p_packs, p_caller, p_now)
$$;

-- Bytes of memory of the conversion at a position, 0 if it is small.
CREATE OR REPLACE FUNCTION anytrack.bytes_of_v1(p_seq bigint) RETURNS int
LANGUAGE sql STABLE SET jit = off SET enable_seqscan = off AS $$
    SELECT coalesce(large[p_seq - place + 1], 0) FROM anytrack.page
        WHERE place <= p_seq ORDER BY place DESC LIMIT 1
$$;

-- Extend a lease; false if it was lost.
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

-- Return a claim undelivered, due at p_due on the caller's clock; false if the lease was lost.
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

-- Return a claim undelivered after a failure, which is recorded for some of its positions, as ranges.
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
