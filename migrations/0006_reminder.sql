-- What the assistant shall be reminded of, in which conversation and when.

-- One row for each reminder that waits. It is written before the log has its event, and a reminder is run only if the
-- log really has that event: what a crash leaves in between is dropped when it comes due.
CREATE TABLE @schema@.reminder (
    id uuid PRIMARY KEY,
    conversation text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,                  -- of its event
    name text NOT NULL,                     -- name, intent and entities are JSON: text can't hold all that they may be
    intent text NOT NULL,
    entities text NOT NULL,
    kill_on_user_msg boolean NOT NULL,
    channel text NOT NULL,                  -- the output of the turn or request that scheduled it
    due timestamptz NOT NULL,
    look_at timestamptz NOT NULL,           -- when it is to be looked at: when it is due, or its worker has died
    claimed_by text,                        -- the worker that runs it
    version bigint,                         -- of the conversation right after its event; NULL until that is known
    ended_by bytea[] NOT NULL DEFAULT '{}', -- digests of events that end it once the log has them behind its own
    created timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (conversation, digest)
) WITH (fillfactor = 50);

CREATE INDEX reminder_look_at ON @schema@.reminder (look_at);
