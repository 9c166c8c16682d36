-- The tables of the history; all times are dates on the clock of the server, in unix seconds. What
-- the program does with them is explained in the module anytrack_async.outbox.history.

-- How many attempts ended in the same way within a minute, and the sum of the seconds since the
-- conversions were accepted.
CREATE TABLE IF NOT EXISTS anytrack.history_outcomes (
    minute bigint,
    destination text COLLATE "C",
    status text COLLATE "C",
    code text COLLATE "C",
    count bigint NOT NULL,
    seconds float8 NOT NULL,
    PRIMARY KEY (minute, destination, status, code)
);

-- How many conversions of a kind were accepted within an hour, and the sum of their revenues.
CREATE TABLE IF NOT EXISTS anytrack.history_accepted (
    hour bigint,
    conversion_type text COLLATE "C",
    currency text COLLATE "C",
    source text COLLATE "C",
    campaign text COLLATE "C",
    count bigint NOT NULL,
    value numeric NOT NULL,
    PRIMARY KEY (hour, conversion_type, currency, source, campaign)
);

-- The same as processes write it, in their appends and settles: rows are only added, so that no
-- transaction waits for another one that counts the same. Retention adds them to the tables above.
CREATE TABLE IF NOT EXISTS anytrack.new_outcomes (
    minute bigint NOT NULL,
    destination text NOT NULL,
    status text NOT NULL,
    code text NOT NULL,
    count bigint NOT NULL,
    seconds float8 NOT NULL
);
CREATE TABLE IF NOT EXISTS anytrack.new_accepted (
    id bigint GENERATED ALWAYS AS IDENTITY,
    hour bigint NOT NULL,
    conversion_type text NOT NULL,
    currency text NOT NULL,
    source text NOT NULL,
    campaign text NOT NULL,
    count bigint NOT NULL,
    value numeric NOT NULL
);

-- When a destination confirmed a range of positions, which one claim took from the log. Ranges of a
-- destination do not overlap. Conversions in a range that failed are in the next table.
CREATE TABLE IF NOT EXISTS anytrack.history_batches (
    destination text COLLATE "C",
    last bigint,
    first bigint NOT NULL,
    at float8 NOT NULL,
    PRIMARY KEY (destination, last)
);

-- Attempts that failed, and those that were delivered after failed ones. A batch that was released
-- as a whole is one row, with first below last.
CREATE TABLE IF NOT EXISTS anytrack.history_attempts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    last bigint NOT NULL,
    first bigint NOT NULL,
    destination text COLLATE "C" NOT NULL,
    at float8 NOT NULL,
    number int NOT NULL,
    status text NOT NULL,
    code text,
    http_status int,
    error text NOT NULL,
    due float8
);
CREATE INDEX IF NOT EXISTS history_attempts_last ON anytrack.history_attempts (last, first);
CREATE INDEX IF NOT EXISTS history_attempts_of_batches ON anytrack.history_attempts (last, first)
    WHERE first < last;
