#!/usr/bin/env python
"""Django's command line, with the embedded PostgreSQL started when DATABASE_URL is unset."""

import os
import sys

from django.core.management import execute_from_command_line

from reviewapp.server import postgres
from reviewapp.server.problems import in_one_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "reviewapp.settings")
    with in_one_line():
        postgres.ensure_database_url()
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
