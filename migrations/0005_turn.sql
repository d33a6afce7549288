-- Turns of conversations that are under way: the assistant answers one message of a conversation after the other.

-- One row for each turn that waits for something outside, such as an action server, while it holds its conversation.
-- A row whose lease ran out belongs to a turn that was cut off: its process died, or could not reach the database.
CREATE TABLE @schema@.turn (
    conversation text COLLATE "C" PRIMARY KEY,
    owner text NOT NULL,                    -- which turn, over all processes
    lease_until timestamptz NOT NULL,
    awaited boolean NOT NULL DEFAULT false, -- somebody wants to be told of its end
    abandoned boolean NOT NULL DEFAULT false -- the turn before it was cut off
) WITH (fillfactor = 50);
