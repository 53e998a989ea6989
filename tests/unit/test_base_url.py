"""Where links to files lead, also with a port that the system chooses."""

import pytest

from bridge.app import base_url

HERE = "http://127.0.0.1:40123"


@pytest.mark.parametrize(
    ("public_url", "leads_to"),
    [
        ("", HERE),
        ("https://bridge.example.com/wa/", "https://bridge.example.com/wa"),
        ("http://10.0.0.5:8080", "http://10.0.0.5:8080"),
        ("http://10.0.0.5:0", "http://10.0.0.5:40123"),
        ("http://[::1]:0/wa", "http://[::1]:40123/wa"),
    ],
)
def test_links_lead_to_the_public_url_or_to_where_the_bridge_listens(public_url: str, leads_to: str) -> None:
    assert base_url(public_url, HERE) == leads_to
