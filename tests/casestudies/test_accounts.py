"""Accounts: signing in and out, what an account may do, and how accounts come to be."""

import re
from collections.abc import Iterable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from reviewapp.accounts import ensure_demo_account, first_account_hint
from reviewapp.limits.models import Count
from tests.casestudies.making import a_finished_run, a_person, a_run

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough phrase"


@pytest.fixture(autouse=True)
def _quick_passwords(settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password=PASSWORD)


def sign_in(client: Client, next_page: str = "", password: str = PASSWORD):
    return client.post("/sign-in/", {"username": "ada", "password": password, "next": next_page})


def test_one_signs_in_comes_back_and_signs_out_again(client: Client, ada: User) -> None:
    page = client.get("/about/").content.decode()
    assert '<a href="/sign-in/?next=/about/">Sign in</a>' in page
    form = client.get("/sign-in/?next=/about/").content.decode()
    assert '<input type="hidden" name="next" value="/about/">' in form
    response = sign_in(client, "/about/")
    assert (response.status_code, response["Location"]) == (302, "/about/")
    page = client.get("/about/").content.decode()
    assert "Sign out" in page
    assert ">Sign in<" not in page
    assert client.get("/sign-out/").status_code == 405
    assert client.post("/sign-out/")["Location"] == "/"
    assert ">Sign in<" in client.get("/about/").content.decode()


@pytest.mark.parametrize(
    "elsewhere",
    [
        *("https://example.org/", "//example.org", "javascript:alert(1)", "/\\example.org"),
        *("about", "a.b", "admin:index"),
    ],
)
def test_signing_in_leads_to_no_other_site(client: Client, ada: User, elsewhere: str) -> None:
    assert sign_in(client, elsewhere)["Location"] == "/account/"


@pytest.mark.parametrize("own", ["/sign-in/", "/sign-out/"])
def test_signing_in_and_out_lead_on_even_when_asked_back_to_themselves(
    client: Client, ada: User, own: str
) -> None:
    assert sign_in(client, "/sign-in/")["Location"] == "/account/"
    again = client.get("/sign-in/", {"next": own})
    assert (again.status_code, again["Location"] in ("/account/", own)) == (302, True)
    assert client.post("/sign-out/", {"next": own})["Location"] == "/"


def test_a_wrong_password_is_answered_kindly_and_not_for_ever(client: Client, ada: User) -> None:
    response = sign_in(client, password="guess")
    assert "Please enter a correct username and password" in response.content.decode()
    answers = [sign_in(client, password=f"guess {n}") for n in range(20)]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused["Retry-After"]
    assert client.get("/sign-in/").status_code == 200


def guesses(names: Iterable[str]) -> list[Any]:
    """Return what each guess at a password is answered, each from another address."""
    return [
        Client().post(
            "/sign-in/", {"username": name, "password": "guess"}, REMOTE_ADDR=f"192.0.2.{n}"
        )
        for n, name in enumerate(names)
    ]


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_a_name_takes_ten_wrong_passwords_wherever_they_come_from(ada: User, name: str) -> None:
    signed_in = Client()
    signed_in.force_login(ada)
    spelled = [name, name.upper(), f" {name} ", name.title(), f"{name}\u3000"]
    *answers, locked = guesses(spelled[n % 5] for n in range(11))
    assert {answer.status_code for answer in answers} == {200}
    assert locked.status_code == 429
    assert 14 * 60 < int(locked["Retry-After"]) <= 15 * 60
    page = locked.content.decode()
    assert "Too many wrong passwords were given for this name. Try again in 15 minutes." in page
    assert sign_in(Client()).status_code == (429 if name == "ada" else 302)
    assert signed_in.get("/account/").status_code == 200
    Count.objects.update(ends=timezone.now())  # a quarter of an hour later
    assert sign_in(Client()).status_code == 302


def test_only_wrong_passwords_count_for_a_name(ada: User) -> None:
    for _ in range(2):
        assert {answer.status_code for answer in guesses(["ada"] * 9)} == {200}
        assert sign_in(Client()).status_code == 302
    assert {answer.status_code for answer in guesses(["", "ada"])} == {200}


def test_the_account_page_is_one_s_own(client: Client, ada: User) -> None:
    response = client.get("/account/")
    assert response["Location"] == "/sign-in/?next=/account/"
    other = a_run(owner=a_person("grace", "add_run"))
    own = a_finished_run(owner=ada)
    client.force_login(ada)
    page = client.get("/account/").content.decode()
    assert own.get_absolute_url() in page
    assert other.get_absolute_url() not in page
    assert "Your account may not start runs" in page


def test_the_account_page_says_what_one_may_do(client: Client) -> None:
    client.force_login(a_person("grace", "add_run", "change_run"))
    page = client.get("/account/").content.decode()
    assert "Start runs, cancel your own" in page
    assert "Cancel any run" in page
    assert "Delete any run" not in page
    assert "You have not started a run" in page


def test_create_runner_makes_an_account_that_may_start_runs(monkeypatch, capsys) -> None:
    monkeypatch.setenv("PASSWORD", PASSWORD)
    call_command("create_runner", "grace")
    assert "“grace” can sign in and start runs" in capsys.readouterr().out
    grace = User.objects.get(username="grace")
    assert grace.check_password(PASSWORD)
    assert grace.get_all_permissions() == {"casestudies.add_run"}
    with pytest.raises(CommandError, match="“grace” is taken"):
        call_command("create_runner", "grace")


@pytest.mark.parametrize(
    ("name", "password", "reason"),
    [("a b", PASSWORD, "valid username"), ("grace", "short", "too short"), ("", PASSWORD, "blank")],
)
def test_create_runner_says_what_is_wrong(monkeypatch, name, password, reason) -> None:
    monkeypatch.setenv("PASSWORD", password)
    with pytest.raises(CommandError, match=reason):
        call_command("create_runner", name)
    assert not User.objects.exists()


def test_create_runner_asks_twice(monkeypatch) -> None:
    monkeypatch.delenv("PASSWORD", raising=False)
    typed = iter([PASSWORD, "something else", PASSWORD, PASSWORD])
    monkeypatch.setattr(
        "casestudies.management.commands.create_runner.getpass", lambda prompt: next(typed)
    )
    with pytest.raises(CommandError, match="differ"):
        call_command("create_runner", "grace")
    call_command("create_runner", "grace", verbosity=0)
    assert User.objects.get(username="grace").check_password(PASSWORD)


def test_the_first_start_says_how_to_make_an_account() -> None:
    assert "createsuperuser" in str(first_account_hint())
    assert "\n" not in str(first_account_hint())
    a_person()
    assert first_account_hint() is None


def test_the_demo_account_works_only_while_it_is_asked_for(client: Client, monkeypatch) -> None:
    def may_enter() -> bool:
        return Client().login(username="demo", password="demo")

    ensure_demo_account()
    assert not User.objects.exists()
    monkeypatch.setenv("DEMO", "1")
    for _ in range(2):
        ensure_demo_account()
    assert may_enter()
    assert User.objects.get().get_all_permissions() == {"casestudies.add_run"}
    monkeypatch.delenv("DEMO")
    ensure_demo_account()
    assert not may_enter()
    monkeypatch.setenv("DEMO", "1")
    ensure_demo_account()
    assert may_enter()


def test_somebody_s_own_account_called_demo_is_left_alone(monkeypatch) -> None:
    User.objects.create_user("demo", password=PASSWORD)
    for demo in ("1", ""):
        monkeypatch.setenv("DEMO", demo)
        ensure_demo_account()
        kept = User.objects.get()
        assert kept.is_active
        assert not kept.get_all_permissions()


def test_a_name_is_shown_as_text(client: Client) -> None:
    person = a_person('<script>alert("x")</script>')
    a_run(owner=person)
    client.force_login(person)
    for address in ("/account/", "/case-studies/sparsegpt/"):
        page = client.get(address).content.decode()
        assert "<script>alert" not in page
        assert re.search(r"&lt;script&gt;alert", page)
