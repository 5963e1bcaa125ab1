"""Which web addresses a manifest allows, and that nothing else passes for one of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batch.core.model import FetchedPicture
from batch.manifest import load_manifest
from batch.manifest.references.hosts import ListedHosts

if TYPE_CHECKING:
    from tests.manifest.conftest import Folder

LISTED = "reference_hosts: [cdn.example.com, '*.shop.example']\n"


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example.com/a.png",
        "https://CDN.example.com/a.png",
        "https://cdn.example.com:443/a/b.png?v=1&s=%20",
        "https://img.shop.example/a.png",
        "https://a.b.shop.example/",
        "https://cdn.example.com",
        "HTTPS://cdn.example.com/a",
        "https://cdn.example.com/a.png#front",
        "https://cdn.example.com/@me/a[1].png?x=(1)",
    ],
)
def test_listed_hosts_are_allowed(url: str, folder: Folder) -> None:
    """Names are meant as written, whatever their case; an asterisk stands for what is in front."""
    manifest = load_manifest(folder.write("m.yaml", LISTED + f"jobs: [{{prompt: x, references: ['{url}']}}]"))
    assert list(manifest.wanted_addresses()) == [url]
    assert manifest.reference_hosts.allows(url)


TRICKS = [
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://127.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://localhost/",
    "https://169.254.169.254/latest/meta-data",
    "https://cdn.example.com\\@evil.com/",
    "https://cdn.example.com@evil.com/",
    "https://evil.com\\@cdn.example.com/",
    "https://user@cdn.example.com/",
    "https://user:word@cdn.example.com/",
    "https://cdn.example.com:8443/",
    "https://cdn.example.com:443@evil.com/",
    "https://cdn.example.com.evil.com/",
    "https://evil.com/cdn.example.com",
    "https://evil.com?cdn.example.com",
    "https://evil.com#cdn.example.com",
    "https://evilshop.example/",
    "https://shop.example/",
    "https://cdn.example.com./",
    "https:///cdn.example.com/",
    "https://cdn.example.com /",
    "https://cdn.example.com/a b.png",
    "https://cdn.example.com/\x7f",
    "https://cdn。example.com/",
    "https://cdn.example.com/käse.png",
    "https://" + "a" * 9000 + ".shop.example/",
    "https://cdn.example.com/" + "a" * 9000,
    "http://cdn.example.com/a.png",
    "ftp://cdn.example.com/a",
    "file:///etc/passwd",
    "//cdn.example.com/a.png",
    "data:image/png;base64,AAAA",
    "https://",
]


@pytest.mark.parametrize("url", TRICKS, ids=lambda url: url[:60])
def test_nothing_else_passes(url: str, folder: Folder) -> None:
    """Out of a cell comes a stranger's text: it is one problem with row and column, and is not fetched."""
    folder.write("t.csv", f'Handle,Photo\nkite,"{url}"\n')
    text = LISTED + "rows: t.csv\njobs: [{id: '{{ Handle }}', prompt: x, references: [{column: Photo}]}]"
    manifest = load_manifest(folder.write("m.yaml", text))

    assert list(manifest.wanted_addresses()) == []
    assert not manifest.reference_hosts.allows(url)
    [problem] = folder.problems(text)
    assert problem.startswith('t.csv:2: column "Photo": job "kite": ')


def test_a_host_that_is_not_listed_is_told_once(folder: Folder) -> None:
    """With what to write, not for every row of a million, and without the address, which may be signed."""
    folder.write("t.csv", "Handle,Photo\n" + "".join(f"k{n},https://a.example/{n}?key=secret\n" for n in range(50)))
    text = "rows: t.csv\njobs: [{id: '{{ Handle }}', prompt: x, references: [{column: Photo}]}]"
    assert folder.problems(text) == [
        't.csv:2: column "Photo": job "k0": pictures from a.example are not fetched; to allow it write '
        "reference_hosts: [a.example]"
    ]
    assert folder.problems("jobs: [{prompt: x, references: ['https://a.example/x?key=secret']}]") == [
        "m.yaml:1:33: pictures from a.example are not fetched; to allow it write reference_hosts: [a.example]"
    ]


class Fetched:
    """Pictures by address; any other failed."""

    def __init__(self, **files: Path) -> None:
        self._files = files

    def get(self, url: str) -> FetchedPicture:
        name = url.rpartition("/")[2].partition("?")[0]
        if name in self._files:
            return FetchedPicture(file=self._files[name], sha256=name * 64, mime="image/png", size_bytes=7)
        return FetchedPicture(problem=f"cannot be fetched: answered {name}", missing=name == "404")


def test_a_fetched_picture_is_a_reference_like_any_other(folder: Folder) -> None:
    """Its name has no query, because names are recorded and published; ids do not depend on signatures either."""
    made = []
    for signature in ("one", "two"):
        text = LISTED + f"jobs: [{{prompt: x, references: ['https://cdn.example.com/a?sign={signature}']}}]"
        manifest = load_manifest(folder.write("m.yaml", text))
        [wanted] = list(manifest.jobs())
        assert wanted.references[0].sha256 == ""
        manifest.use_fetched(Fetched(a=folder.path / "kept"))
        [job] = list(manifest.check())
        assert job.id == wanted.id
        made.append(job)
    [reference] = made[0].references
    assert (reference.name, reference.file) == ("https://cdn.example.com/a", folder.path / "kept")
    assert made[0].spec_hash() == made[1].spec_hash()
    assert made[0].id == made[1].id


def test_what_could_not_be_fetched_is_a_problem_of_its_row(folder: Folder) -> None:
    """All together with everything else that is wrong; a picture that is not there may be optional."""
    rows = [
        "a,https://cdn.example.com/a?key=secret",
        "b,https://cdn.example.com/404?key=secret",
        "c,https://cdn.example.com/500?key=secret",
        "d,none.png",
    ]
    folder.write("t.csv", "\n".join(["Handle,Photo", *rows]))
    text = LISTED + "rows: t.csv\njobs: [{{id: '{{{{ Handle }}}}', prompt: x, references: [{{column: Photo{}}}]}}]"

    def problems(more: str) -> list[str]:
        manifest = load_manifest(folder.write("m.yaml", text.format(more)))
        manifest.use_fetched(Fetched(a=folder.path / "kept"))
        found: list[str] = []
        try:
            list(manifest.check())
        except Exception as error:  # noqa: BLE001
            found = str(error).replace(f"{folder.path}/", "").splitlines()
        return found

    where = 't.csv:{}: column "Photo": job "{}": reference {}'
    gone = where.format(3, "b", "https://cdn.example.com/404 cannot be fetched: answered 404")
    busy = where.format(4, "c", "https://cdn.example.com/500 cannot be fetched: answered 500")
    assert problems("") == [gone, busy, where.format(5, "d", "none.png does not exist")]
    assert problems(", optional: true") == [busy]


def test_only_rows_that_are_taken_want_their_pictures(folder: Folder) -> None:
    """Those that are left out are not fetched for; those that are wrong are, to tell all at once.

    The manifest's text may make the address, and a question mark in it is no wildcard.
    """
    folder.write("t.csv", "Handle,Keep\nkite,y\nboat,n\n../bad,y\nhouse,y\n")
    text = LISTED + (
        "rows: t.csv\nwhere: Keep == 'y'\ndefaults: {references: ['https://cdn.example.com/logo?*']}\njobs:\n"
        "  - {id: '{{ Handle }}', prompt: x, references: ['https://cdn.example.com/{{ Handle }}.png?v=[1]']}\n"
        "  - {id: 'b-{{ Handle | slug }}', prompt: y}\n"
    )
    manifest = load_manifest(folder.write("m.yaml", text))
    assert list(manifest.wanted_addresses()) == [
        "https://cdn.example.com/logo?*",
        "https://cdn.example.com/kite.png?v=[1]",
        "https://cdn.example.com/../bad.png?v=[1]",
        "https://cdn.example.com/house.png?v=[1]",
    ]


def test_no_list_allows_nothing() -> None:
    """An empty list is no list."""
    assert not ListedHosts()
    assert not ListedHosts().allows("https://cdn.example.com/")
