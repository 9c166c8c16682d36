-- The keys that records and reasons of failures are encrypted with. The program encrypts and
-- decrypts; the database never sees a key, only its id.
--
-- The table lists each key that a row may be encrypted with. A transaction that encrypts lists its
-- key, so a row whose key is not listed is damaged. Before a key is removed from the list, it is
-- marked as retiring; a transaction that encrypts with it removes the mark.

CREATE TABLE IF NOT EXISTS anytrack.encryption_key (
    id text COLLATE "C" PRIMARY KEY,
    is_retiring bool NOT NULL DEFAULT false
);

-- Record that the transaction encrypts with a key, and that the key is not retiring.
CREATE OR REPLACE FUNCTION anytrack.list_key_v1(p_key text) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM anytrack.encryption_key WHERE id = p_key AND NOT is_retiring) THEN
        INSERT INTO anytrack.encryption_key AS listed (id) VALUES (p_key)
            ON CONFLICT (id) DO UPDATE SET is_retiring = false;
    END IF;
END $$;

-- List a key and mark all others as retiring. Returns the number of the transaction: transactions
-- with lower numbers may not have seen the marks, so their end has to be awaited before a key is
-- removed.
CREATE OR REPLACE FUNCTION anytrack.retire_keys_v1(p_key text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM anytrack.list_key_v1(p_key);
    UPDATE anytrack.encryption_key SET is_retiring = true WHERE id <> p_key;
    RETURN pg_current_xact_id()::text;
END $$;

-- Return the id of the key that a reason of a failure is encrypted with, '' if it is plain text. An
-- encrypted reason is the character 1, then base64 of a byte, the id of the key, and the rest.
CREATE OR REPLACE FUNCTION anytrack.key_of_error_v1(p_error text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN left(p_error, 1) = chr(1) AND substr(p_error, 2, 8) ~ '^[A-Za-z0-9+/]{8}$'
        THEN encode(substr(decode(substr(p_error, 2, 8), 'base64'), 2, 4), 'hex') ELSE '' END
$$;

-- Return how many records and reasons each key encrypts; the key '' counts those that are not
-- encrypted.
CREATE OR REPLACE FUNCTION anytrack.key_usage_v1() RETURNS TABLE (key text, count bigint)
LANGUAGE sql STABLE SET jit = off AS $$
    SELECT key, count(*) FROM (
        SELECT CASE WHEN substr(payload, 1, 1) = '\x01' THEN encode(substr(payload, 2, 4), 'hex')
            ELSE '' END AS key FROM anytrack.log
        UNION ALL SELECT anytrack.key_of_error_v1(error) FROM anytrack.exception WHERE error <> ''
        UNION ALL SELECT anytrack.key_of_error_v1(error) FROM anytrack.discarded WHERE error <> ''
        UNION ALL SELECT anytrack.key_of_error_v1(error) FROM anytrack.history_attempts
            WHERE error <> '') AS used GROUP BY key
$$;
