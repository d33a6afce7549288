-- What identifies an event's content. Numbers have a fixed width, everything else its length in front.
CREATE FUNCTION @schema@.event_digest(
    salt bytea, version bigint, type text, schema_version smallint, "timestamp" float8, body text
) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(int4send(octet_length(salt)) || salt || int8send(version)
        || int4send(octet_length(type)) || convert_to(type, 'UTF8') || int2send(schema_version)
        || float8send("timestamp") || int4send(octet_length(body)) || convert_to(body, 'UTF8'))
$$;

-- Appends the requests of one call, all in one commit; a request that can't be accepted is a result, not an error.
--
-- Everything is decided under the log's lock. The function is VOLATILE in READ COMMITTED, so each statement in it
-- sees every commit of those who held the lock before. Positions are given here and nowhere else: a reader that asks
-- for what lies beyond a position can't miss anything.
--
-- results holds four numbers for each request: status, base (version before), version (after), generation.
-- Status: 0 appended, 1 repeated (base and version are those of the first time), 2 wrong expected version,
-- 3 key used by another request, 4 an opening is needed, 5 checkpoint moved meanwhile. From 2 on, version is the present one.
--
-- A checkpoint that an append moves counts something of the caller's own, such as the rows that an importer has read; it
-- is made when it is moved from 0.
CREATE FUNCTION @schema@.append(
    p_batch uuid,                 -- of the call, the same when it is sent again: then the first answer is given
    p_node text,
    p_origin text,
    c_id text[],                  -- the conversations of the call, each once
    r_conversation int[],         -- of each request: index into c_id
    r_expected bigint[],          -- version; -1 any but 0; NULL any
    r_key text[],
    r_hash bytea[],
    r_opening int[],              -- how many of its events open an empty generation; -1 refuses to meet one
    r_events int[],               -- how many events in all
    r_replaces boolean[],         -- its first event begins a new generation
    r_checkpoint text[],          -- a checkpoint that it moves
    r_old bigint[],
    r_new bigint[],
    e_type text[],                -- the events of all requests, one after the other
    e_timestamp float8[],
    e_schema_version smallint[],
    e_body text[],
    e_actor text[],
    e_request_id text[],
    p_again boolean,              -- whether an earlier sending of the call may be executed yet
    OUT results bigint[],
    OUT last_position bigint
) LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    head bigint;
    previous bytea;
    time_now timestamptz;
    c_no bigint[];
    c_version bigint[];
    c_generation bigint[];
    c_generation_version bigint[];
    c_generation_position bigint[];
    c_first bigint[];
    c_last bigint[];
    c_salt bytea[];
    c_state int[];                -- 0 untouched, 1 changed, 2 new
    v_position bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(e_body)]);
    v_conversation bigint[] := v_position;
    v_version bigint[] := v_position;
    v_salt bytea[] := array_fill(NULL::bytea, ARRAY[cardinality(e_body)]);
    c int;
    skipped int;
    base bigint;
    status int;
    before int := 0;              -- events of the requests before this one
    tail bigint;
    repeated @schema@.idempotency_key;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'append needs READ COMMITTED, not %', current_setting('transaction_isolation')
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- For this transaction, whatever the session says: behind a pooler its settings may be somebody else's.
    IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('append ' || $n$@schema@$n$, 0));
    -- Also on the first try: a backend may begin this call only after its client gave it up and sent it again.
    SELECT m.results, m.last_position INTO results, last_position FROM @schema@.commit m WHERE m.batch = p_batch
        UNION ALL SELECT f.results, f.last_position FROM @schema@.refusal f WHERE f.batch = p_batch;
    IF FOUND THEN RETURN; END IF;

    SELECT m.last_position, m.chain, greatest(clock_timestamp(), m."time" + interval '1 microsecond')
        INTO head, previous, time_now FROM @schema@.commit m ORDER BY m.last_position DESC LIMIT 1;
    IF NOT FOUND THEN head := 0; previous := ''; time_now := clock_timestamp(); END IF;
    tail := head;

    SELECT array_agg(k.no), array_agg(coalesce(k.version, 0)), array_agg(coalesce(k.generation, 1)),
            array_agg(coalesce(k.generation_version, 0)), array_agg(k.generation_position),
            array_agg(k.first_position), array_agg(k.last_position), array_agg(k.salt), array_agg(0)
        INTO c_no, c_version, c_generation, c_generation_version, c_generation_position, c_first, c_last, c_salt, c_state
        FROM (SELECT k.* FROM unnest(c_id) WITH ORDINALITY u(id, ord)
            LEFT JOIN @schema@.conversation k ON k.id = u.id ORDER BY u.ord) k;

    results := array_fill(0::bigint, ARRAY[4 * cardinality(r_conversation)]);
    FOR i IN 1 .. cardinality(r_conversation) LOOP
        c := r_conversation[i];
        base := c_version[c];
        status := 0;
        IF r_key[i] IS NOT NULL THEN
            SELECT * INTO repeated FROM @schema@.idempotency_key k WHERE k.conversation = c_id[c] AND k.key = r_key[i];
            IF FOUND THEN
                IF repeated.hash = r_hash[i] THEN
                    results[4 * i - 3] := 1;
                    results[4 * i - 2] := repeated.base;
                    results[4 * i - 1] := repeated.version;
                    results[4 * i] := repeated.generation;
                    before := before + r_events[i];
                    CONTINUE;
                END IF;
                status := 3;
            END IF;
        END IF;
        status := CASE
            WHEN status > 0 THEN status
            WHEN base <> r_expected[i] AND (r_expected[i] >= 0 OR base = 0) THEN 2
            WHEN base = c_generation_version[c] AND r_opening[i] < 0 THEN 4
            ELSE 0 END;
        IF status = 0 AND r_checkpoint[i] IS NOT NULL THEN
            INSERT INTO @schema@.checkpoint AS k (name, position, log, chain, epoch, updated)
                SELECT r_checkpoint[i], r_new[i], l.id, '', 0, time_now FROM @schema@.log l
                WHERE r_old[i] = 0 OR EXISTS (SELECT 1 FROM @schema@.checkpoint o WHERE o.name = r_checkpoint[i])
                ON CONFLICT (name) DO UPDATE SET position = r_new[i], updated = time_now WHERE k.position = r_old[i];
            IF NOT FOUND THEN status := 5; END IF;
        END IF;
        IF status > 0 THEN
            results[4 * i - 3] := status;
            results[4 * i - 1] := base;
            before := before + r_events[i];
            CONTINUE;
        END IF;

        skipped := CASE WHEN base > c_generation_version[c] THEN greatest(r_opening[i], 0) ELSE 0 END;
        IF c_no[c] IS NULL THEN
            c_no[c] := nextval($n$@schema@.conversation_no_seq$n$);
            c_salt[c] := uuid_send(gen_random_uuid());
            c_generation_position[c] := tail + 1;
            c_first[c] := tail + 1;
            c_state[c] := 2;
        ELSIF c_state[c] = 0 THEN
            c_state[c] := 1;
        END IF;
        IF r_replaces[i] THEN
            c_generation[c] := c_generation[c] + 1;
            c_generation_version[c] := base + 1;
            c_generation_position[c] := tail + 1;
            INSERT INTO @schema@.generation VALUES (c_no[c], c_generation[c], base + 1, tail + 1);
        END IF;
        FOR j IN before + skipped + 1 .. before + r_events[i] LOOP
            tail := tail + 1;
            v_position[j] := tail;
            v_conversation[j] := c_no[c];
            v_version[j] := base + j - before - skipped;
            v_salt[j] := c_salt[c];
        END LOOP;
        c_version[c] := base + r_events[i] - skipped;
        c_last[c] := tail;
        results[4 * i - 2] := base;
        results[4 * i - 1] := c_version[c];
        results[4 * i] := c_generation[c];
        IF r_key[i] IS NOT NULL THEN
            INSERT INTO @schema@.idempotency_key
                VALUES (c_id[c], r_key[i], r_hash[i], base, c_version[c], c_generation[c], time_now);
        END IF;
        before := before + r_events[i];
    END LOOP;
    last_position := tail;
    IF tail = head THEN
        IF p_again THEN
            INSERT INTO @schema@.refusal VALUES (p_batch, results, tail, time_now);
        END IF;
        RETURN;
    END IF;

    IF 2 = ANY (c_state) THEN
        INSERT INTO @schema@.conversation (no, id, version, generation, generation_version, generation_position,
                first_position, last_position, salt)
            SELECT u.no, u.id, u.version, u.generation, u.generation_version, u.generation_position, u.first, u.last, u.salt
            FROM unnest(c_no, c_id, c_version, c_generation, c_generation_version, c_generation_position, c_first, c_last,
                    c_salt, c_state)
                u(no, id, version, generation, generation_version, generation_position, first, last, salt, state)
            WHERE u.state = 2;
    END IF;
    IF 1 = ANY (c_state) THEN
        UPDATE @schema@.conversation k SET version = u.version, generation = u.generation,
                generation_version = u.generation_version, generation_position = u.generation_position,
                last_position = u.last
            FROM unnest(c_no, c_version, c_generation, c_generation_version, c_generation_position, c_last, c_state)
                u(no, version, generation, generation_version, generation_position, last, state)
            WHERE u.state = 1 AND k.no = u.no;
    END IF;
    WITH accepted AS MATERIALIZED (
        SELECT u.position, u.conversation, u.version, u.type, u."timestamp", u.schema_version, u.body, u.actor, u.request_id,
            @schema@.event_digest(u.salt, u.version, u.type, u.schema_version, u."timestamp", u.body) AS digest
        FROM unnest(v_position, v_conversation, v_version, v_salt, e_type, e_timestamp, e_schema_version, e_body,
                e_actor, e_request_id)
            u(position, conversation, version, salt, type, "timestamp", schema_version, body, actor, request_id)
        WHERE u.position IS NOT NULL
    ), inserted AS (
        INSERT INTO @schema@.event
            (position, conversation, version, type, "timestamp", schema_version, body, digest, actor, request_id)
            SELECT a.position, a.conversation, a.version, a.type, a."timestamp", a.schema_version, a.body, a.digest,
                a.actor, a.request_id
            FROM accepted a
    )
    INSERT INTO @schema@.commit (last_position, first_position, batch, "time", node, origin, results, chain)
        SELECT tail, head + 1, p_batch, time_now, p_node, p_origin, append.results,
            sha256(previous || int8send(head + 1) || int8send(tail)
                || int8send((extract(epoch FROM time_now) * 1000000)::bigint)
                || string_agg(a.digest, ''::bytea ORDER BY a.position))
        FROM accepted a;
END $$;
