"""Remove what procrastinate, the queue of older versions, has left in the database.

It has no foreign key to or from anything else. What a person has built on its tables is not
dropped with them: PostgreSQL then refuses, and names it.
"""

from django.db import migrations

# Functions may return a table's rows, and triggers of the tables call functions.
DROP = r"""
DO $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('DROP FUNCTION %s', oid::regprocedure) FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace
        AND proname LIKE 'procrastinate\_%' AND prorettype <> 'trigger'::regtype
    LOOP EXECUTE statement; END LOOP;

    SELECT 'DROP TABLE ' || string_agg(oid::regclass::text, ', ') INTO statement FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace
    AND relname LIKE 'procrastinate\_%' AND relkind = 'r';
    IF statement IS NOT NULL THEN EXECUTE statement; END IF;

    FOR statement IN
        SELECT format('DROP FUNCTION %s', oid::regprocedure) FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND proname LIKE 'procrastinate\_%'
    LOOP EXECUTE statement; END LOOP;

    FOR statement IN
        SELECT format('DROP TYPE %s', oid::regtype) FROM pg_type
        WHERE typnamespace = current_schema()::regnamespace
        AND typname LIKE 'procrastinate\_%' AND (typtype = 'e' OR typtype = 'c')
    LOOP EXECUTE statement; END LOOP;
END $$
"""


def drop(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_migrations WHERE app = 'procrastinate'")
        # Without its migrations, what bears its name is somebody else's.
        if cursor.fetchone() == (0,):
            return
        cursor.execute(DROP)
        cursor.execute("DELETE FROM django_migrations WHERE app = 'procrastinate'")
    apps.get_model("contenttypes", "ContentType").objects.filter(app_label="procrastinate").delete()


class Migration(migrations.Migration):

    dependencies = [
        ("casestudies", "0002_worker_and_cancel_asked"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(drop, migrations.RunPython.noop)]
