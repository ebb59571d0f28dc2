#!/usr/bin/env python
"""Django's command line, with the embedded PostgreSQL started when DATABASE_URL is unset."""

import os
import sys

from reviewapp import postgres


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "reviewapp.settings")
    try:
        postgres.ensure_database_url()
    except postgres.StartProblem as problem:
        sys.exit(str(problem))
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
