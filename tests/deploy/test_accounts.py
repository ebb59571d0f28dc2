"""What an operator does to accounts and tokens: `manage.py accounts`."""

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from rest_framework.authtoken.models import Token

from tests.casestudies.making import a_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return a_person("ada", "add_run")


@pytest.fixture
def grace() -> User:
    return a_person("grace", "add_run")


def uses_the_api(key: str) -> bool:
    answer = Client().post("/api/v1/runs/9/cancel/", headers={"Authorization": f"Token {key}"})
    return answer.status_code != 401


def test_tokens_are_ended_of_one_and_of_all(ada: User, grace: User) -> None:
    keys = {person: Token.objects.create(user=person).key for person in (ada, grace)}
    assert all(map(uses_the_api, keys.values()))
    call_command("accounts", "ada", "--end-tokens")
    assert [uses_the_api(keys[person]) for person in (ada, grace)] == [False, True]
    call_command("accounts", "--end-tokens")
    assert not uses_the_api(keys[grace])


def test_a_closed_account_is_nobody_until_it_is_opened(
    ada: User, grace: User, client: Client
) -> None:
    keys = {person: Token.objects.create(user=person).key for person in (ada, grace)}
    client.force_login(ada)
    assert client.get("/account/").status_code == 200
    call_command("accounts", "ada", "--close")
    assert client.get("/account/").status_code == 302
    assert [uses_the_api(keys[person]) for person in (ada, grace)] == [False, True]
    call_command("accounts", "ada", "--open")
    assert client.get("/account/").status_code == 200
    assert not uses_the_api(keys[ada])


def test_the_accounts_are_listed(
    ada: User, grace: User, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    token = Token.objects.create(user=ada)
    client.force_login(grace)
    grace.refresh_from_db()
    assert grace.last_login
    call_command("accounts", "grace", "--close")
    capsys.readouterr()
    call_command("accounts")
    assert capsys.readouterr().out.splitlines() == [
        f"ada\topen\tsigned in: never\ttoken: {token.created:%Y-%m-%d}",
        f"grace\tclosed\tsigned in: {grace.last_login:%Y-%m-%d}\ttoken: none",
    ]


def test_what_names_nobody_changes_nothing(ada: User) -> None:
    Token.objects.create(user=ada)
    with pytest.raises(CommandError, match="There is no account bob, eve"):
        call_command("accounts", "eve", "ada", "bob", "--close")
    with pytest.raises(CommandError, match="accounts that you name"):
        call_command("accounts", "--close")
    assert Token.objects.count() == 1
    ada.refresh_from_db()
    assert ada.is_active
