"""`manage.py create_runner NAME`: make an account that may start runs."""

import os
from argparse import ArgumentParser
from getpass import getpass

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from casestudies.permissions import let_start_runs


class Command(BaseCommand):
    help = "Make an account that may start runs; the password is asked for, or is PASSWORD."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what the person types to sign in")

    def handle(self, *args: object, name: str, **options: object) -> None:
        if User.objects.filter(username=name).exists():
            raise CommandError(f"The name “{name}” is taken.")
        user = User(username=name)
        try:
            user.clean_fields(exclude=["password"])
            password = os.environ.get("PASSWORD") or _ask_twice()
            validate_password(password, user)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        user.set_password(password)
        with transaction.atomic():
            user.save()
            let_start_runs(user)
        self.stdout.write(f"“{name}” can sign in and start runs.")


def _ask_twice() -> str:
    password = getpass("Password: ")
    if getpass("Again: ") != password:
        raise CommandError("The two passwords differ.")
    return password
