"""How many queries a page costs."""

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext


def count_queries(client: Client, address: str) -> int:
    """Get the page, to its last byte where it is streamed, and return how many queries it cost.

    Nothing that pages remember until the taxonomy or what was found changes is known before.
    """
    with connection.cursor() as cursor:
        for table in ("taxonomy_revision", "findings_revision"):
            cursor.execute(f"INSERT INTO {table} DEFAULT VALUES")
    with CaptureQueriesContext(connection) as captured:
        response = client.get(address)
        assert response.status_code == 200, response
        response.getvalue()
    return len(captured)
