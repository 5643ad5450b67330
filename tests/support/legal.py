"""Schemas that PostgreSQL takes, that work for an application, and that a dump may stumble over.

Beside those of `hostile.py`, which all come back by themselves: here each says what every way of
bringing it back is to give. `tests/integration/test_legal_schemas.py` runs them, and
`docs/schemas.md` is their table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Flag = Literal["", "--not-valid", "--skip-broken", "refused"]


@dataclass(frozen=True, slots=True)
class Legal:
    """SQL for an empty database, and what comes of it.

    `found` are the kinds of obstacle that a backup names. `full` is the flag that a whole restore
    needs (beside the live one, in its place, on an empty machine, in `verify --restore`), `rows`
    that of rows alone. `by_hand` says whether `pg_restore --exit-on-error` alone would do. `needs`
    is an extension, `since` a major version, `before` another one; from `newer[0]` on `full` is
    `newer[1]`.
    """

    sql: str
    found: tuple[str, ...] = ()
    full: Flag = ""
    rows: Flag = ""
    by_hand: bool = True
    needs: str = ""
    since: int = 0
    before: int = 0
    newer: tuple[int, Flag] | None = None

    def whole(self, major: int) -> Flag:
        """What a whole restore needs on this major version."""
        return self.newer[1] if self.newer and major >= self.newer[0] else self.full


SEEN = "SELECT EXISTS (SELECT FROM kind WHERE id = k)"
READS = f"""
    CREATE TABLE kind (id int PRIMARY KEY, label text);
    INSERT INTO kind VALUES (1, 'one'), (2, 'two');
    CREATE FUNCTION known(k int) RETURNS boolean LANGUAGE plpgsql AS
        'BEGIN RETURN ({SEEN}); END';
    CREATE FUNCTION label_of(k int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
        'BEGIN RETURN (SELECT label FROM kind WHERE id = k); END';
"""
#: The rows that broke the key came while triggers rested.
UNCHECKED = "SET session_replication_role = replica"

LEGAL: dict[str, Legal] = {
    "a check that reads another table": Legal(
        f"""{READS}
        CREATE TABLE item (id int PRIMARY KEY, kind int CHECK (known(kind)));
        COMMENT ON CONSTRAINT item_kind_check ON item IS 'it''s known';
        INSERT INTO item SELECT n, 1 + n % 2 FROM generate_series(1, 100) n;""",
        ("names",),
        by_hand=False,
    ),
    "a check whose function names an operator": Legal(
        """CREATE SCHEMA math; SET search_path = public, math;
        CREATE FUNCTION math.near(a int, b int) RETURNS boolean IMMUTABLE LANGUAGE sql
            AS 'SELECT abs(a - b) < 10';
        CREATE OPERATOR math.~~~ (LEFTARG = int, RIGHTARG = int, FUNCTION = math.near);
        CREATE FUNCTION close_to(a int) RETURNS boolean LANGUAGE plpgsql AS
            'BEGIN RETURN a ~~~ 5; END';
        CREATE TABLE item (id int CHECK (close_to(id))); INSERT INTO item VALUES (1), (2);""",
        by_hand=False,
    ),
    "a check whose function has changed": Legal(
        """CREATE FUNCTION fine(v int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT v > 0';
        CREATE TABLE item (id int PRIMARY KEY, v int CHECK (fine(v)));
        INSERT INTO item SELECT n, n FROM generate_series(1, 9) n;
        CREATE OR REPLACE FUNCTION fine(v int) RETURNS boolean IMMUTABLE LANGUAGE sql
            AS 'SELECT v > 3';""",
        full="--not-valid",
        rows="--not-valid",
        by_hand=False,
    ),
    "a check against the current time": Legal(
        """CREATE TABLE offer (id int PRIMARY KEY, until timestamptz CHECK (until > now()));
        SET session_replication_role = replica;
        ALTER TABLE offer DROP CONSTRAINT offer_until_check;
        INSERT INTO offer VALUES (1, now() - interval '1 day'), (2, now() + interval '9 years');
        ALTER TABLE offer ADD CONSTRAINT offer_until_check CHECK (until > now()) NOT VALID;
        UPDATE pg_constraint SET convalidated = true WHERE conname = 'offer_until_check';""",
        ("check",),
        full="--not-valid",
        by_hand=False,
    ),
    "a foreign key with orphans": Legal(
        f"""CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1), (2);
        CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
        INSERT INTO child VALUES (10, 1), (11, 2);
        {UNCHECKED}; DELETE FROM parent WHERE id = 2;""",
        ("orphans",),
        full="--not-valid",
        by_hand=False,
    ),
    "a tree that lost its root": Legal(
        f"""CREATE TABLE node (a int, b int, up_a int, up_b int, PRIMARY KEY (a, b),
            CONSTRAINT "up ""x"" it's" FOREIGN KEY (up_a, up_b) REFERENCES node MATCH FULL
            DEFERRABLE INITIALLY DEFERRED);
        {UNCHECKED}; INSERT INTO node VALUES (2, 2, 1, 1), (3, 3, 2, 2);""",
        ("orphans",),
        full="--not-valid",
        by_hand=False,
    ),
    "orphans in a partitioned table": Legal(
        f"""CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1), (2);
        CREATE TABLE child (id int, parent int REFERENCES parent) PARTITION BY RANGE (id);
        CREATE TABLE child_1 PARTITION OF child FOR VALUES FROM (0) TO (100);
        CREATE TABLE child_2 PARTITION OF child DEFAULT;
        INSERT INTO child VALUES (1, 1), (200, 2);
        {UNCHECKED}; DELETE FROM parent WHERE id = 2;""",
        ("orphans",),
        full="--skip-broken",
        newer=(18, "--not-valid"),
        by_hand=False,
    ),
    "an index on a function": Legal(
        f"""{READS}
        CREATE TABLE item (id int PRIMARY KEY, kind int);
        CREATE INDEX by_label ON item (label_of(kind));
        CREATE UNIQUE INDEX once ON item (label_of(kind), id) WHERE label_of(kind) <> 'none';
        COMMENT ON INDEX by_label IS 'by label';
        INSERT INTO item SELECT n, 1 + n % 2 FROM generate_series(1, 100) n;""",
        ("names", "names"),
        by_hand=False,
    ),
    "a generated column that calls a function": Legal(
        f"""{READS}
        CREATE TABLE item (id int PRIMARY KEY, kind int,
            label text GENERATED ALWAYS AS (label_of(kind)) STORED);
        INSERT INTO item (id, kind) SELECT n, 1 + n % 2 FROM generate_series(1, 100) n;""",
        ("names",),
        by_hand=False,
    ),
    "a generated column whose function fails without a row": Legal(
        """CREATE TABLE zone (id int PRIMARY KEY, label text); INSERT INTO zone VALUES (1, 'a');
        CREATE FUNCTION zone_of(k int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
            'DECLARE l text; BEGIN SELECT label INTO STRICT l FROM zone WHERE id = k;
             RETURN l; END';
        CREATE TABLE a_item (id int PRIMARY KEY, zone int,
            label text GENERATED ALWAYS AS (zone_of(zone)) STORED);
        INSERT INTO a_item (id, zone) VALUES (1, 1);""",
        ("names",),
        by_hand=False,
    ),
    "a partition key that calls a function": Legal(
        f"""{READS}
        CREATE TABLE item (id int, kind int) PARTITION BY LIST (label_of(kind));
        CREATE TABLE item_one PARTITION OF item FOR VALUES IN ('one');
        CREATE TABLE item_rest PARTITION OF item DEFAULT;
        INSERT INTO item SELECT n, 1 + n % 2 FROM generate_series(1, 100) n;""",
        ("names",),
        by_hand=False,
    ),
    "materialized views that call functions": Legal(
        f"""{READS}
        ALTER FUNCTION label_of SET search_path = public;
        CREATE SCHEMA later;
        CREATE MATERIALIZED VIEW later.labels AS SELECT id, label_of(id) AS label FROM kind;
        CREATE UNIQUE INDEX ON later.labels (id);
        CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM later.labels;
        CREATE VIEW through AS SELECT label_of(id) FROM kind;
        CREATE MATERIALIZED VIEW of_view AS SELECT * FROM through;
        ALTER FUNCTION label_of RESET search_path;""",
        ("names", "names"),
        by_hand=False,
    ),
    "a materialized view that fails now": Legal(
        """CREATE TABLE ratio (a int, b int); INSERT INTO ratio VALUES (1, 1);
        CREATE MATERIALIZED VIEW quotient AS SELECT a / b AS q FROM ratio;
        UPDATE ratio SET b = 0;""",
        full="--skip-broken",
        rows="--skip-broken",
        by_hand=False,
    ),
    "a trigger that compares values of an extension's type": Legal(
        """CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; SET search_path = public, ext;
        CREATE TABLE doc (id int PRIMARY KEY, h hstore, touched int DEFAULT 0);
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN NEW.touched = 1; RETURN NEW; END';
        CREATE TRIGGER t BEFORE UPDATE ON doc FOR EACH ROW
            WHEN (OLD.h IS DISTINCT FROM NEW.h) EXECUTE FUNCTION touch();
        CREATE VIEW twins AS SELECT a.id FROM doc a JOIN doc b USING (h);
        INSERT INTO doc VALUES (1, 'a=>1'), (2, NULL);""",
        by_hand=False,
        needs="hstore",
    ),
    "an index that needs earthdistance": Legal(
        """CREATE SCHEMA geo; CREATE EXTENSION cube SCHEMA geo; CREATE EXTENSION earthdistance
            SCHEMA geo; SET search_path = public, geo;
        CREATE TABLE place (id int PRIMARY KEY, lat float8, lng float8);
        CREATE INDEX ON place USING gist (ll_to_earth(lat, lng));
        INSERT INTO place VALUES (1, 48.2, 16.4), (2, -33.9, 18.4);""",
        ("names",),
        by_hand=False,
        needs="earthdistance",
        before=16,
    ),
    "a domain that reads a table": Legal(
        f"""{READS}
        CREATE DOMAIN a_kind AS int CONSTRAINT is_known CHECK (known(VALUE));
        COMMENT ON CONSTRAINT is_known ON DOMAIN a_kind IS 'it is';
        CREATE TABLE an_item (id int PRIMARY KEY, kind a_kind);
        INSERT INTO an_item VALUES (1, 1), (2, 2);""",
        ("names",),
        by_hand=False,
    ),
    "domains inside types": Legal(
        """CREATE DOMAIN positive AS int CHECK (VALUE > 0) NOT NULL;
        CREATE TYPE pair AS (a positive, b text); CREATE DOMAIN good_pair AS pair
            CHECK ((VALUE).b <> '');
        CREATE TYPE span AS RANGE (SUBTYPE = int8);
        CREATE TABLE t (id int PRIMARY KEY, p pair, g good_pair, ps pair[], d positive[], s span);
        INSERT INTO t VALUES (1, (1, 'x'), (2, 'y'), ARRAY[(3, 'z')::pair], '{4,5}', '[1,5)');""",
    ),
    "exclusion constraints and deferred keys": Legal(
        """CREATE FUNCTION span_of(a int) RETURNS int4range IMMUTABLE LANGUAGE plpgsql AS
            'BEGIN RETURN int4range(a, a + width()); END';
        CREATE FUNCTION width() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 5';
        CREATE TABLE booking (id int PRIMARY KEY, place int UNIQUE DEFERRABLE INITIALLY DEFERRED,
            a int, other int REFERENCES booking DEFERRABLE,
            EXCLUDE USING gist (span_of(a) WITH &&) DEFERRABLE);
        INSERT INTO booking VALUES (1, 1, 0, 2), (2, 2, 10, 1);""",
        ("names",),
        by_hand=False,
    ),
    "inherited checks": Legal(
        f"""{READS}
        CREATE TABLE base (id int, kind int, CONSTRAINT known_kind CHECK (known(kind)),
            CONSTRAINT own CHECK (id > 0) NO INHERIT);
        CREATE TABLE derived (more text, CONSTRAINT known_kind CHECK (known(kind))) INHERITS (base);
        CREATE TABLE second () INHERITS (base); CREATE TABLE third () INHERITS (derived, second);
        ALTER TABLE base ADD CONSTRAINT late CHECK (id < 100) NOT VALID;
        INSERT INTO base VALUES (1, 1); INSERT INTO derived VALUES (2, 2, 'x');
        INSERT INTO third VALUES (3, 1, 'y');""",
        ("names", "names"),
        by_hand=False,
    ),
    "partitions whose columns differ in order": Legal(
        """CREATE TABLE ev (gone text, id int, at date, v text) PARTITION BY RANGE (at);
        ALTER TABLE ev DROP COLUMN gone;
        CREATE TABLE ev_1 (v text, at date, extra int, id int); ALTER TABLE ev_1 DROP COLUMN extra;
        ALTER TABLE ev ATTACH PARTITION ev_1 FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
        CREATE TABLE ev_2 PARTITION OF ev FOR VALUES FROM ('2021-01-01') TO (MAXVALUE);
        ALTER TABLE ev ADD PRIMARY KEY (id, at); ALTER TABLE ev ADD CHECK (id > 0);
        INSERT INTO ev VALUES (1, '2020-02-02', 'a'), (2, '2022-02-02', 'b');
        CREATE INDEX ON ev_1 (v);""",
    ),
    "functions with SQL bodies (BEGIN ATOMIC)": Legal(
        """CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 5), (2, 6);
        CREATE FUNCTION half(x int) RETURNS int IMMUTABLE LANGUAGE sql
            BEGIN ATOMIC SELECT CASE WHEN x % 2 = 0 THEN x / 2 ELSE CASE x WHEN 1 THEN 0 ELSE 1 END
            END; SELECT x / 2; END;
        CREATE PROCEDURE fill() LANGUAGE sql BEGIN ATOMIC
            INSERT INTO t VALUES (9, 9) ON CONFLICT DO NOTHING; DELETE FROM t WHERE id = 9; END;
        CREATE FUNCTION quoted() RETURNS text LANGUAGE sql AS $q$ SELECT 'BEGIN ATOMIC; END' $q$;
        CREATE INDEX ON t (half(v));""",
        since=14,
    ),
    "functions with settings": Legal(
        f"""{READS}
        CREATE SCHEMA "O'Brien ""%s"" %(x)s";
        ALTER FUNCTION known SET work_mem = '8MB';
        CREATE FUNCTION pathed(k int) RETURNS boolean LANGUAGE plpgsql SET search_path = public
            SET "app.x" = 'it''s' AS 'BEGIN RETURN ({SEEN}); END';
        CREATE FUNCTION "O'Brien ""%s"" %(x)s"."a ""known"" ;" (k int DEFAULT 1) RETURNS boolean
            LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN known(k) AND pathed(k); END';
        CREATE TABLE item (kind int CHECK ("O'Brien ""%s"" %(x)s"."a ""known"" ;"(kind)));
        INSERT INTO item VALUES (1), (2);""",
        ("names",),
        by_hand=False,
    ),
    "two tables with the same name": Legal(
        """CREATE SCHEMA one; CREATE SCHEMA two;
        CREATE TABLE one.kind (id int PRIMARY KEY); CREATE TABLE two.kind (id int PRIMARY KEY);
        INSERT INTO two.kind VALUES (7);
        DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = two, public',
            current_database()); END $$; SET search_path = two, public;
        CREATE FUNCTION public.known(k int) RETURNS boolean LANGUAGE plpgsql AS
            'BEGIN RETURN EXISTS (SELECT FROM kind WHERE id = k); END';
        CREATE TABLE two.item (kind int CHECK (public.known(kind)));
        INSERT INTO two.item VALUES (7);""",
        ("names",),
        by_hand=False,
    ),
    "types with their own operators": Legal(
        """CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE m (v mood); INSERT INTO m
            VALUES ('sad'); ALTER TYPE mood RENAME VALUE 'sad' TO 'it''s "low"';
        ALTER TYPE mood ADD VALUE 'high' BEFORE 'ok';
        CREATE TYPE cents AS (v int);
        CREATE FUNCTION cmp(a cents, b cents) RETURNS int IMMUTABLE LANGUAGE sql
            AS 'SELECT sign((a).v - (b).v)::int';
        CREATE FUNCTION lt(a cents, b cents) RETURNS boolean IMMUTABLE LANGUAGE plpgsql
            AS 'BEGIN RETURN cmp(a, b) < 0; END';
        CREATE OPERATOR <<< (LEFTARG = cents, RIGHTARG = cents, FUNCTION = lt);
        CREATE OPERATOR CLASS by_cents FOR TYPE cents USING btree AS
            OPERATOR 1 <<<, FUNCTION 1 cmp(cents, cents);
        CREATE FUNCTION as_int(cents) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT ($1).v';
        CREATE CAST (cents AS int) WITH FUNCTION as_int(cents) AS IMPLICIT;
        CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
        CREATE TABLE money (id int PRIMARY KEY, c cents);
        CREATE INDEX ON money (c by_cents);
        INSERT INTO money VALUES (1, ROW(5)), (2, ROW(3));""",
    ),
    "collations and text search": Legal(
        """CREATE COLLATION plain (LOCALE = 'C');
        CREATE TEXT SEARCH DICTIONARY nothing (TEMPLATE = pg_catalog.simple);
        CREATE TEXT SEARCH CONFIGURATION own (COPY = pg_catalog.simple);
        ALTER TEXT SEARCH CONFIGURATION own ALTER MAPPING FOR asciiword WITH nothing;
        CREATE TABLE doc (id int PRIMARY KEY, body text COLLATE plain,
            ts tsvector GENERATED ALWAYS AS (to_tsvector('own', body)) STORED);
        CREATE INDEX ON doc USING gin (to_tsvector('own', body));
        INSERT INTO doc (id, body) VALUES (1, 'Hello there'), (2, NULL);""",
    ),
    "objects that depend on each other": Legal(
        """CREATE TABLE t (id int PRIMARY KEY);
        CREATE FUNCTION next_of(t) RETURNS int LANGUAGE sql AS 'SELECT max(id) + 1 FROM t';
        ALTER TABLE t ADD COLUMN n int DEFAULT 5; ALTER TABLE t ALTER n SET DEFAULT 6;
        CREATE VIEW v AS SELECT t.*, next_of(t) AS nxt FROM t;
        CREATE FUNCTION of_view(v) RETURNS int LANGUAGE sql AS 'SELECT count(*)::int FROM v';
        CREATE FUNCTION broken() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN nothing.here(); END';
        CREATE FUNCTION made(k int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN later(k); END';
        CREATE FUNCTION later(k int) RETURNS int LANGUAGE sql AS 'SELECT k';
        ALTER TABLE t ADD COLUMN m int DEFAULT made(4);
        CREATE RULE copy AS ON INSERT TO v DO INSTEAD INSERT INTO t (id) VALUES (NEW.id);
        INSERT INTO t VALUES (1), (2);""",
    ),
    "a unique index with duplicates": Legal(
        """CREATE TABLE u (id int, v text); CREATE INDEX once ON u (id);
        INSERT INTO u VALUES (1, 'a'), (1, 'b');
        COMMENT ON INDEX once IS 'only once';
        UPDATE pg_index SET indisunique = true WHERE indexrelid = 'once'::regclass;""",
        full="--skip-broken",
        rows="refused",
        by_hand=False,
    ),
    "statistics and policies": Legal(
        f"""{READS}
        CREATE TABLE item (id int PRIMARY KEY, kind int DEFAULT 1, a int, b int);
        CREATE STATISTICS s (ndistinct, dependencies) ON a, b FROM item;
        CREATE STATISTICS e ON label_of(kind), (a + b) FROM item;
        ALTER TABLE item ENABLE ROW LEVEL SECURITY; ALTER TABLE item FORCE ROW LEVEL SECURITY;
        CREATE POLICY p ON item USING (known(kind)) WITH CHECK (known(kind));
        INSERT INTO item VALUES (1, 1, 2, 3), (2, 2, 3, 4);""",
        since=14,
    ),
    "a foreign key between different types": Legal(
        """CREATE TABLE parent (id text PRIMARY KEY); CREATE TABLE child (parent varchar(9)
            REFERENCES parent ON DELETE SET NULL ON UPDATE CASCADE);
        INSERT INTO parent VALUES ('a'); INSERT INTO child VALUES ('a'), (NULL);
        CREATE UNLOGGED TABLE quick (id int); INSERT INTO quick VALUES (1);
        CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES;""",
    ),
    "checks of many kinds": Legal(
        """CREATE TABLE t (id int, a date CHECK (a <= current_date + 1), b text
            CHECK (b IS NULL OR b::int > 0 AND b !~ '%s {x}'), c jsonb
            CHECK (jsonb_typeof(c) = 'object'), CHECK ((id, a) IS DISTINCT FROM (0, NULL)));
        INSERT INTO t VALUES (1, '2020-01-01', '5', '{}');
        CREATE TABLE n (id int CHECK (false) NO INHERIT);
        CREATE TABLE n_1 () INHERITS (n); INSERT INTO n_1 VALUES (1);""",
    ),
}


def table() -> str:
    """Return `docs/schemas.md`."""
    found = {
        "names": "functions that name something without its schema",
        "orphans": "foreign keys that rows violate",
        "check": "checks that rows violate",
    }

    def way(flag: Flag) -> str:
        return {"": "same", "refused": "refused"}.get(flag, f"`{flag}`")

    def what(legal: Legal) -> str:
        return ", ".join(dict.fromkeys(found[kind] for kind in legal.found)) or "nothing"

    def named(name: str, legal: Legal) -> str:
        return f"{name} (before {legal.before})" if legal.before else name

    def whole(legal: Legal) -> str:
        later = legal.newer
        return way(legal.full) + (f"; since PostgreSQL {later[0]} {way(later[1])}" if later else "")

    lines = [
        "| schema | a backup names | full restore | rows only | `pg_restore -e` by hand |",
        "|---|---|---|---|---|",
        *(
            f"| {named(name, legal)} | {what(legal)} "
            f"| {whole(legal)} | {way(legal.rows)} | {'same' if legal.by_hand else 'fails'} |"
            for name, legal in LEGAL.items()
        ),
    ]
    return "\n".join(lines) + "\n"
