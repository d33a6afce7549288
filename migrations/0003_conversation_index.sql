-- Read models that are kept beside the log, and where each of them lives. The tables themselves, one for each slot and
-- named <name>_<slot>, are made and dropped by the code that fills them.
CREATE TABLE @schema@.projection (
    slot bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    code_version int NOT NULL,             -- of the code that fills the table
    state text NOT NULL CHECK (state IN ('building', 'active', 'retired')),  -- retired: nobody reads it, it is dropped
    processed bigint NOT NULL DEFAULT 0,   -- events applied, counted; equals the checkpoint's position if none is missing
    error text,                            -- why it stands still
    created timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX projection_active ON @schema@.projection (name) WHERE state = 'active';
CREATE UNIQUE INDEX projection_building ON @schema@.projection (name, code_version) WHERE state = 'building';
