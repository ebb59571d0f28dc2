"""What no browser sends, through the real server: refused or ignored, never an error of ours."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.edge.site import Site

pytestmark = pytest.mark.xdist_group("edge")

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "PROPFIND"]
TARGETS = [
    *("/", "/about/", "/publications/", "/publications/export.csv", "/compare/tray/", "/sign-in/"),
    *("/account/", "/prisma/import/", "/case-studies/sparsegpt/", "/runs/1/", "/runs/1/news.json"),
    *("/api/v1/publications/", "/api/v1/runs/", "/api/v1/schema/", "/static/ui/peak.css"),
    *("http://localhost/about/", "http://evil.example/", "//evil.example/about/", "*", "", "about"),
]
TAILS = [
    *(
        "",
        "?q=%00",
        "%00",
        "%2e%2e/",
        "..%2f..%2fetc/passwd",
        "%ff%fe",
        "%u0041",
        "%",
        "?%zz=%",
        "#x",
    ),
    *("%0d%0aSet-Cookie:a=b", "?next=//evil.example", ";jsessionid=1", "?" + "a=b&" * 300),
    *("?page=1" + "0" * 5000, "/" * 500, "?class[]=x&class=%ED%A0%80", "?indent=4&format=api"),
]
NAMES = [
    *(
        "Content-Type",
        "Content-Length",
        "Content-Encoding",
        "Content-Location",
    ),
    *("Cookie", "Host", "Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since"),
    *("Accept", "Accept-Language", "Accept-Encoding", "Authorization", "Proxy-Authorization"),
    *("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Script-Name"),
    *(
        "SCRIPT_NAME",
        "X_Forwarded_For",
        "X-Real-IP",
        "Referer",
        "Origin",
        "Upgrade",
        "TE",
    ),
    *("HX-Request", "HX-Current-URL", "HX-Target", "HX-Trigger", "HX-Prompt", "HX-Boosted"),
    *("X-HTTP-Method-Override", "X-CSRFToken", "User-Agent"),
]
VALUES = [
    *("", " ", ";", ",", "a; x*=bogus''y", "text/html; charset=zlib", "multipart/form-data"),
    *("a/b; x*=a''b; x*0=c", "multipart/form-data; boundary*0=x; boundary*=y"),
    *('a; boundary="x\\"; y*=bogus\'\'z"', "*/*; x=\"y; z*=a''b; z*0=c\""),
    *("multipart/form-data; boundary=x", "multipart/form-data; boundary*=hex''78", "a/b;q=;q=1,*"),
    *(
        "application/x-www-form-urlencoded",
        "application/json; indent=99999",
        "a/b; x*=undefined''y",
    ),
    *("bytes=0-", "bytes=5-1", "bytes=-" + "9" * 30, "bytes=0-0,2-2", '"x"', "*", 'W/"', "0"),
    *(
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Thu, 99 Foo 99999 99:99:99 +9999999999",
        "-1",
        "99999999999",
    ),
    *("http://[", "http://[::1]:x/", "http://a:99999999/", "//", "null", "http://localhost:0x1"),
    *(
        "localhost",
        "localhost:x",
        "[::1",
        "a b",
        "evil.example",
        "localhost\\evil",
        ".",
        "127.0.0.1.",
    ),
    *(
        "true",
        "https",
        "chunked",
        "gzip, chunked",
        "100-continue",
        "h2c",
        "127.0.0.1",
        "::",
        "1.2.3",
    ),
    *("Token", "Token a b", "Token \xff", "Basic Og==", "Token " + "a" * 5000, "Bearer \\000"),
    *(
        'sessionid="\\000aaaaaaaaaaaa"',
        "sessionid=" + "x" * 4000,
        'csrftoken="\\"',
        "compare=strategy:a",
    ),
    *(
        'messages="[[\\"__json_message\\"',
        "a" * 9000,
        "a=b; " * 900,
        "\x00",
        "\r",
        "é",
        "\x7f",
        "\t",
    ),
]
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(VALUES)
        | st.text(st.characters(max_codepoint=255, exclude_characters="\n"), max_size=30),
    ),
    max_size=4,
)
BODIES = st.sampled_from([b"", b"a=b&next=x", b"{", b'{"study": 1}', b"\0" * 5000]) | (
    st.binary(max_size=40)
)
# Of a form with parts, each of which begins with a boundary and lines of its own.
PIECES = [
    *("--x\r\n", "--x--", "--x\n", "\r\n", "\r\n\r\n", "a" * 3000, "\0", "\xff", ";", "=", '"'),
    *("Content-Disposition: form-data; name=action\r\n\r\nclear\r\n", "Content-Disposition: ;\r\n"),
    *(
        "Content-Disposition: form-data; name*=bogus''y; filename*=hex''zz\r\n\r\n",
        "Content-Type: ",
    ),
    *(
        "Content-Disposition: form-data; name*=a''b; name*0=c\r\n\r\n",
        "Content-Type: a; x*0=b; x*=c",
    ),
    *(
        'Content-Disposition: form-data; name="next"\r\n\r\n',
        "Content-Transfer-Encoding: base64\r\n",
    ),
    *('Content-Disposition: form-data; name=file; filename="../\0"\r\n', "Content-Length: -1\r\n"),
]
FORMS = st.lists(st.sampled_from(PIECES), max_size=12).map(lambda p: "".join(p).encode("latin-1"))
# Every form of the site is accepted with these.
TOKEN = {"Cookie": f"csrftoken={'a' * 32}", "X-CSRFToken": "a" * 32}


@pytest.fixture(autouse=True)
def _nothing_to_explain(site: Site) -> Iterator[None]:
    """After the test, the log of the server has no traceback."""
    before = len(site.log.read_text())
    yield
    said = site.log.read_text()[before:]
    assert "Traceback" not in said, said


def status(answer: bytes) -> int:
    """Return the status, 0 for a connection that was closed without a word."""
    found = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    assert found or not answer, answer[:200]
    return int(found[1]) if found else 0


def ask(site: Site, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """Ask with these headers, and with the usual ones that are not among them."""
    usual = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(body)), **TOKEN}
    named = {name.lower() for name, _ in headers}
    sent = [*headers, *(pair for pair in usual.items() if pair[0].lower() not in named)]
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent), "", ""]
    return site.send("\r\n".join(lines).encode("latin-1") + body)


# Shrinking takes minutes through a real server, and what was sent is in the failure.
SENT = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


@settings(SENT, max_examples=300)
@given(st.sampled_from(METHODS), st.sampled_from(TARGETS), st.sampled_from(TAILS), HEADERS, BODIES)
@example("GET", "/", "", [("Content-Type", "a; x*=bogus''y")], b"")
@example("GET", "/", "", [("Content-Type", "a; x*=a''b; x*0=c")], b"")
@example("GET", "/", "", [("Content-Type", 'a; boundary="x\\"; y*=bogus\'\'z"')], b"")
@example("GET", "/api/v1/runs/", "", [("Accept", "a/b; x*=a''b; x*0=c")], b"")
@example("GET", "/api/v1/runs/", "", [("Accept", "*/*; x=\"y; z*=a''b; z*0=c\"")], b"")
@example("GET", "/", "", [("Cookie", 'sessionid="\\000aaaaaaaaaaaa"')], b"")
def test_no_request_is_an_error_of_the_site(
    site: Site, method: str, target: str, tail: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    answer = ask(site, method, target + tail, headers, body)
    assert status(answer) < 500, (method, target, tail, headers, body, answer[:500])


@settings(SENT, max_examples=150)
@given(st.sampled_from(["/compare/tray/", "/prisma/import/", "/prisma/edit/"]), FORMS)
@example(
    "/compare/tray/", b"--x\r\nContent-Disposition: form-data; name*=bogus''y\r\n\r\nx\r\n--x--"
)
@example(
    "/compare/tray/",
    b"--x\r\nContent-Disposition: form-data; name*=a''b; name*0=c\r\n\r\nx\r\n--x--",
)
def test_no_form_is_an_error_of_the_site(site: Site, target: str, body: bytes) -> None:
    kind = [("Content-Type", "multipart/form-data; boundary=x")]
    answer = ask(site, "POST", target, kind, body)
    assert status(answer) < 500, (target, body, answer[:500])


@pytest.mark.parametrize("address", ["/", "/api/v1/runs/"])
def test_a_wrong_host_is_one_short_line_in_the_log(site: Site, address: str) -> None:
    before = len(site.log.read_text())
    assert site.status(address, {"Host": "x" * 5000}) == 400
    (line,) = site.log.read_text()[before:].splitlines()
    assert "Invalid HTTP_HOST header" in line
    assert len(line) < 300
