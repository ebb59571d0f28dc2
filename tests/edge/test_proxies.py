"""Addresses of the site, behind a proxy."""

import pytest

from tests.edge.site import Site


@pytest.mark.xdist_group("edge")
def test_addresses_of_the_site_begin_as_the_visitor_s(site: Site) -> None:
    page = "/api/v1/strategies/?page_size=1"
    assert '"next":"http://' in site.get(page).text
    assert '"next":"https://' in site.get(page, {"X-Forwarded-Proto": "https"}).text
    # Neither names nor paths of the site are taken from a header.
    said = {
        "X-Forwarded-Host": "evil.example",
        "Script-Name": "/evil",
        "X_Forwarded_Proto": "https",
    }
    assert '"next":"http://127.0.0.1' in site.get(page, said).text
    assert "evil" not in site.get("/about/", said).text
