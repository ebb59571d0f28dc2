"""`manage.py accounts`: list the accounts, end their tokens, close and open them."""

from argparse import ArgumentParser
from datetime import datetime

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from rest_framework.authtoken.models import Token

from reviewapp.limits.counting import forget
from reviewapp.signing_in import COUNTED_AS


class Command(BaseCommand):
    help = "Change what some accounts may do, and list them; without names, all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*")
        parser.add_argument("--end-tokens", action="store_true", help="end their API tokens")
        change = parser.add_mutually_exclusive_group()
        change.add_argument(
            "--close", action="store_true", help="let nobody in, and end the API tokens too"
        )
        change.add_argument("--open", action="store_true", help="let people in again")

    @transaction.atomic
    def handle(self, *args: object, names: list[str], **options: bool) -> None:
        people = User.objects.order_by("username")
        if names:
            people = people.filter(username__in=names)
        elif options["close"] or options["open"]:
            raise CommandError("--close and --open are for the accounts that you name")
        if missing := set(names) - {person.username for person in people}:
            raise CommandError(f"There is no account {', '.join(sorted(missing))}")
        if options["end_tokens"] or options["close"]:
            Token.objects.filter(user__in=people).delete()
        if options["close"] or options["open"]:
            people.update(is_active=options["open"])
        if options["open"]:
            for person in people.all():
                forget(COUNTED_AS, person.username.lower())
        tokens = dict(Token.objects.values_list("user", "created"))
        for person in people.all():
            state = "open" if person.is_active else "closed"
            signed_in = _day(person.last_login) or "never"
            token = _day(tokens.get(person.pk)) or "none"
            self.stdout.write(f"{person.username}\t{state}\tsigned in: {signed_in}\ttoken: {token}")


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else ""
