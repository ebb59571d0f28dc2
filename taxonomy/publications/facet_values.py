"""Which publications have which value of a facet: kept by database triggers, as FACETS says.

All of it is made from the list of facets, so it is no migration: one would freeze today's list,
and an old one would speak of columns that are yet to come. It is brought up to date when all
migrations are done (`keep_up`) and taken away before any starts (`let_go`).
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Func, IntegerField, JSONField, Model, QuerySet, Value
from django.db.models.constants import LOOKUP_SEP
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast

from reviewapp.corpus.models import Publication
from taxonomy.models import BLOCK, Claim, FacetChange, FacetValue
from taxonomy.publications import facets
from taxonomy.publications.kinds import Facet

TABLE, NOTED = FacetValue._meta.db_table, FacetChange._meta.db_table
LOCK = 65_984  # any number of our own

# The functions are plpgsql because that binds them to no column before they run: the columns that
# they read can still be altered.
VALUES = """
CREATE FUNCTION facets_values(changed bigint[])
RETURNS TABLE (publication bigint, claim int, facet text, value jsonb)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT * FROM ({values}) AS v (publication, claim, facet, value)
    WHERE v.publication = ANY (changed) AND v.value IS NOT NULL;
END $$;
"""

# One transaction at a time writes bits. Nobody waits for it: what others change is noted, for the
# next one to write, and read anew until then.
REFRESH = f"""
CREATE FUNCTION facets_bit(publication bigint) RETURNS bit({BLOCK}) LANGUAGE sql IMMUTABLE
RETURN set_bit(0::bit({BLOCK}), (publication % {BLOCK})::int, 1);

CREATE FUNCTION facets_of(publications bigint[])
RETURNS TABLE (block bigint, facet text, value jsonb, claim int, bits bit({BLOCK}))
LANGUAGE sql STABLE AS $$
    SELECT publication / {BLOCK}, facet, value, claim, bit_or(facets_bit(publication))
    FROM facets_values(publications) GROUP BY 1, 2, 3, 4
$$;

CREATE FUNCTION facets_blocks(publications bigint[])
RETURNS TABLE (block bigint, bits bit({BLOCK})) LANGUAGE sql STABLE AS $$
    SELECT id / {BLOCK}, bit_or(facets_bit(id)) FROM unnest(publications) AS id GROUP BY 1
$$;

CREATE FUNCTION facets_now()
RETURNS TABLE (block bigint, facet text, value jsonb, claim int, bits bit({BLOCK}))
LANGUAGE sql STABLE AS $$
    SELECT kept.block, kept.facet, kept.value, kept.claim,
        CASE WHEN noted.bits IS NULL THEN kept.bits ELSE kept.bits & ~noted.bits END
    FROM {TABLE} AS kept LEFT JOIN facets_blocks(ARRAY(SELECT publication FROM {NOTED})) AS noted
        USING (block)
    UNION ALL SELECT * FROM facets_of(ARRAY(SELECT publication FROM {NOTED}))
$$;

CREATE FUNCTION facets_write(changed bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {TABLE} AS kept SET bits = kept.bits & ~gone.bits
    FROM facets_blocks(changed) AS gone
    WHERE kept.block = gone.block AND bit_count(kept.bits & gone.bits) > 0;
    INSERT INTO {TABLE} AS kept (block, facet, value, claim, bits)
        SELECT * FROM facets_of(changed)
    ON CONFLICT (block, facet, value, claim) DO UPDATE SET bits = kept.bits | excluded.bits;
END $$;

CREATE FUNCTION facets_refresh(changed bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {NOTED} (publication) SELECT unnest(changed);
    IF pg_try_advisory_xact_lock({LOCK}) THEN
        WITH taken AS (DELETE FROM {NOTED} RETURNING publication)
        SELECT array_agg(DISTINCT publication) INTO changed FROM taken;
        PERFORM facets_write(changed);
    END IF;
END $$;

CREATE FUNCTION facets_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE publications bigint[];
BEGIN
    EXECUTE format('SELECT array_agg(DISTINCT %I) FROM changed', TG_ARGV[0]) INTO publications;
    PERFORM facets_refresh(publications);
    RETURN NULL;
END $$;
"""  # noqa: S608
# A trigger with a transition table may name one event only, and an update that moves a row
# changes the publication that it leaves as well as the one that it joins.
TRIGGERS = "".join(
    f"CREATE TRIGGER facets_{name} AFTER {event} ON {{table}} REFERENCING {rows} TABLE AS changed "
    "FOR EACH STATEMENT EXECUTE FUNCTION facets_changed('{column}');\n"
    for name, event, rows in (
        ("inserted", "INSERT", "NEW"),
        ("left", "UPDATE", "OLD"),
        ("joined", "UPDATE", "NEW"),
        ("deleted", "DELETE", "OLD"),
    )
)
MOVED = """
CREATE FUNCTION facets_moved_{facet}_{column}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM facets_refresh(ARRAY({publications}));
    RETURN NULL;
END $$;
CREATE TRIGGER facets_moved_{facet} AFTER UPDATE ON {table} FOR EACH ROW
    WHEN (OLD.{column} IS DISTINCT FROM NEW.{column})
    EXECUTE FUNCTION facets_moved_{facet}_{column}();
"""
FILL = f"""
DELETE FROM {TABLE};
DELETE FROM {NOTED};
SELECT facets_write(array_agg(id)) FROM {Publication._meta.db_table} GROUP BY id / {BLOCK};
"""  # noqa: S608
NAMES = r"SELECT oid::regprocedure::text FROM pg_proc WHERE proname LIKE 'facets\_%'"
INSTALLED = "SELECT obj_description(to_regprocedure('facets_values(bigint[])'), 'pg_proc')"


def keep_up(**_: Any) -> None:
    """Make the database keep what FACETS says, unless it does; after the last migration only."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return
    sql = "".join(_definition())
    digest = sha256(f"{sql}{FILL}".encode()).hexdigest()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(INSTALLED)
        if cursor.fetchone() == (digest,):
            return
        _drop()
        # Creating a trigger keeps writers of its table away until all is filled.
        cursor.execute(sql)
        cursor.execute(FILL)
        cursor.execute(f"COMMENT ON FUNCTION facets_values(bigint[]) IS '{digest}'")


def let_go(plan: list[Any], **_: Any) -> None:
    """Take the triggers away before any migration, which may change what they read."""
    if plan:
        _drop()


def _drop() -> None:
    with connection.cursor() as cursor:
        cursor.execute(NAMES)
        for (name,) in cursor.fetchall():
            cursor.execute(f"DROP FUNCTION {name} CASCADE")


def _definition() -> Iterator[str]:
    yield VALUES.format(values=" UNION ALL ".join(_sql(_values(facet)) for facet in facets.FACETS))
    yield REFRESH
    for model in dict.fromkeys(facet.model for facet in facets.FACETS):
        column = "id" if model is Publication else "publication_id"
        yield TRIGGERS.format(table=model._meta.db_table, column=column)
    for facet in facets.FACETS:
        yield from _moves(facet)


def _values(facet: Facet) -> QuerySet[Any, Any]:
    """Return publication, claim, facet and value of every row that has a value."""
    rows = facet.rows()
    claim = "position" if facet.model is Claim else Value(None)
    return rows.values_list(
        facet.publication,
        Cast(claim, IntegerField()),
        Value(facet.key),
        Func(facet.alias, function="to_jsonb", output_field=JSONField()),
    )


def _moves(facet: Facet) -> Iterator[str]:
    """Yield a trigger for each row that the path of the facet leads over, as a strategy's group.

    Such rows seldom change there, and are written often.
    """
    steps = facet.value.split(LOOKUP_SEP) if isinstance(facet.value, str) else []
    model: type[Model] = facet.model
    for place, step in enumerate(steps[:-1]):
        model = _next(facet, model, step)
        followed = model._meta.get_field(steps[place + 1])
        reached = {LOOKUP_SEP.join(steps[: place + 1]): RawSQL("NEW.id", ())}
        rows = facet.rows().filter(**reached).values_list(facet.publication)
        yield MOVED.format(
            facet=facet.key,
            table=model._meta.db_table,
            column=followed.column,  # type: ignore[union-attr]
            publications=_sql(rows),
        )


def _next(facet: Facet, model: type[Model], step: str) -> type[Model]:
    field = model._meta.get_field(step)
    if not field.many_to_one or field.related_model is None:
        raise ImproperlyConfigured(
            f"Facet {facet.key!r} goes from {model.__name__} to its {step!r}, of which there may"
            " be several: no trigger would follow them. Let the facet begin there."
        )
    return field.related_model


def _sql(rows: QuerySet[Any, Any]) -> str:
    sql, params = rows.query.sql_with_params()
    return connection.ops.compose_sql(sql, params)  # type: ignore[attr-defined]
