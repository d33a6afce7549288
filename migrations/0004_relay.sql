-- What the relays that publish the log say of themselves, and the log as a table in Rasa's shape.

-- One row for each broker that was ever published to; how far it has come is in checkpoint.
CREATE TABLE @schema@.relay (
    name text COLLATE "C" PRIMARY KEY,   -- of the broker
    kind text NOT NULL,                  -- its type in endpoints.yml
    state text NOT NULL CHECK (state IN ('publishing', 'paused', 'unreachable', 'stopped')),
    reason text NOT NULL DEFAULT '',     -- why it is in that state, one line
    owner text NOT NULL,                 -- the process that said so
    reconnects bigint NOT NULL DEFAULT 0,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- Events that a broker takes only as a stub, since they are too large for it.
CREATE TABLE @schema@.parked (
    broker text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    bytes bigint NOT NULL,               -- of the whole message's body
    parked timestamptz NOT NULL DEFAULT clock_timestamp(),
    replayed timestamptz,                -- when the broker has taken the whole message after all
    PRIMARY KEY (broker, position)
);

-- One text of a JSON document, NULL when there is none at that path. JSON can carry U+0000 and lone surrogates, which
-- text can't: in the whole document they become U+FFFD. There is no EXCEPTION block: up to Postgres 16 parallel plans
-- refuse one.
CREATE FUNCTION @schema@.json_text(document text, VARIADIC path text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF document ~* '\\u(0000|d[89a-f])' THEN
        -- With \u005c in place of each escaped backslash, every backslash that is left begins an escape.
        document := regexp_replace(replace(document, '\\', '\u005c'),
            '\\u0000|\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f])|(?<!\\ud[89ab][0-9a-f]{2})\\ud[c-f][0-9a-f]{2}',
            '\\ufffd', 'gi');
    END IF;
    RETURN document::json #>> path;
END $$;

DO $$ BEGIN
    IF to_regclass($n$@schema@.events$n$) IS NOT NULL THEN
        RAISE EXCEPTION 'it holds a table "events" of another program, where the log has a view of that name: '
            'set POSTGRESQL_SCHEMA to a schema of the log''s own, such as turnlog';
    END IF;
END $$;

-- Rasa's table `events` in shape: what reads the table of a Rasa tracker store reads this. Only `id` is wider.
CREATE VIEW @schema@.events AS
SELECT e.position AS id, c.id::varchar AS sender_id, e.type::varchar AS type_name, e."timestamp",
    CASE WHEN e.type = 'user' THEN @schema@.json_text(e.body, 'parse_data', 'intent', 'name') END::varchar
        AS intent_name,
    -- of every event that has one; these two never have, and are the largest
    CASE WHEN e.type NOT IN ('user', 'bot') THEN @schema@.json_text(e.body, 'name') END::varchar AS action_name,
    e.body AS data
FROM @schema@.event e JOIN @schema@.conversation c ON c.no = e.conversation
WHERE e.type <> 'tracker_replaced';
