"""Which proxy an address goes through, as curl and requests read the environment."""

from __future__ import annotations

import pytest

from batch.core.errors import ConfigError
from batch.core.proxies import ProxyProblem, is_excepted, proxy_of_environment, read_proxy

URL = "https://api.example.com/v1beta"


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_usual_variables_name_a_proxy(variable: str) -> None:
    """Each of them, with the name of the variable to tell people."""
    found = proxy_of_environment(URL, {variable: "http://proxy:3128"})
    assert found is not None
    assert (found[0].url, found[1]) == ("http://proxy:3128", variable)


def test_the_variable_for_https_comes_first() -> None:
    """`ALL_PROXY` is for what no other names; small letters before capitals."""
    environment = {"ALL_PROXY": "http://a:1", "HTTPS_PROXY": "http://b:2", "https_proxy": "http://c:3"}
    found = proxy_of_environment(URL, environment)
    assert found is not None
    assert found[0].url == "http://c:3"


@pytest.mark.parametrize("environment", [{}, {"HTTPS_PROXY": ""}, {"HTTPS_PROXY": " "}, {"HTTP_PROXY": "http://a:1"}])
def test_without_a_proxy_requests_go_straight(environment: dict[str, str]) -> None:
    """Nor is a proxy for http one for https."""
    assert proxy_of_environment(URL, environment) is None


def test_plain_http_never_goes_through_a_proxy() -> None:
    """It is for this machine only, and a proxy would read the key."""
    environment = {"HTTPS_PROXY": "http://a:1", "HTTP_PROXY": "http://a:1", "ALL_PROXY": "http://a:1"}
    assert proxy_of_environment("http://127.0.0.1:9000", environment) is None


@pytest.mark.parametrize(
    ("text", "url", "user", "password"),
    [
        ("http://proxy:3128", "http://proxy:3128", "", ""),
        ("proxy:3128", "http://proxy:3128", "", ""),
        ("proxy", "http://proxy:80", "", ""),
        ("https://proxy/", "https://proxy:443", "", ""),
        ("http://me:pa%40ss%3Aw@proxy:3128", "http://proxy:3128", "me", "pa@ss:w"),
        ("http://me@[::1]:3128", "http://[::1]:3128", "me", ""),
    ],
)
def test_a_proxy_is_read(text: str, url: str, user: str, password: str) -> None:
    """With user and password, which are shown nowhere."""
    proxy = read_proxy(text)
    assert (proxy.url, proxy.user, proxy.password) == (url, user, password)
    assert not password or password not in repr(proxy)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("socks5://proxy:1080", "SOCKS"),
        ("socks5h://me:secret@proxy", "SOCKS"),
        ("ftp://proxy", "must be an address"),
        ("http://", "must be an address"),
        ("http://proxy:port", "not a valid address"),
        ("http://pro xy", "must be an address"),
        ("http://[::1", "not a valid address"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_said(text: str, words: str) -> None:
    """Before anything is sent, and without repeating a password."""
    with pytest.raises(ProxyProblem, match=words):
        read_proxy(text)
    with pytest.raises(ConfigError, match=r"HTTPS_PROXY .*nothing was sent") as caught:
        proxy_of_environment(URL, {"HTTPS_PROXY": text})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "url", "excepted"),
    [
        ("api.example.com", URL, True),
        ("example.com", URL, True),
        (".example.com", URL, True),
        ("*.example.com", URL, True),
        ("EXAMPLE.com.", URL, True),
        ("ample.com", URL, False),
        ("example.org, example.com", URL, True),
        ("example.org example.com", URL, True),
        ("*", URL, True),
        ("example.com:443", URL, True),
        ("example.com:8443", URL, False),
        ("example.com:8443", "https://example.com:8443", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.0.0.0/8", URL, False),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("10.1.2.3:443", "https://10.1.2.3", True),
        ("10.1.2.3:444", "https://10.1.2.3", False),
        ("10.1.2.3", "https://10.1.2.30", False),
        ("::1", "https://[::1]:9000", True),
        ("[::1]", "https://[::1]:9000", True),
        ("[::1]:9000", "https://[::1]:9000", True),
        ("[::1]:9001", "https://[::1]:9000", False),
        ("fd00::/8", "https://[fd12::1]", True),
        ("", URL, False),
        (",, ,", URL, False),
        (".", URL, False),
    ],
)
@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
def test_hosts_are_taken_out(listed: str, url: str, excepted: bool, variable: str) -> None:
    """Names with what is below them, ports, addresses, blocks of addresses, or all."""
    assert is_excepted(url, {variable: listed}) is excepted
