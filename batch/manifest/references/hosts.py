"""Web addresses of reference pictures: which are plain enough, and whose host the manifest lists.

Parsers disagree on odd addresses, so an address is taken only if it has the one plain form, in which the host
cannot be mistaken. Whether the host leads to the public internet is looked at when it is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from batch.manifest.problems import show

#: No user, no other port, no backslash, space or control character, nothing but ASCII. The host is a name, which ends
#: in letters, not an address in any of the spellings that some programs take for one.
_PLAIN: Final = re.compile(
    r"https://(?P<host>[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z][a-z0-9-]*)(?P<port>:443)?(?P<path>/[!-\[\]-~]*)?(?:\?[!-\[\]-~]*)?",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]*://|//|data:", re.IGNORECASE)

#: Longer ones are data put in the wrong place; servers refuse them too.
_LONGEST: Final = 8000


def is_address(text: str) -> bool:
    """Whether a text means a web address rather than a file, good or not."""
    return _ADDRESS.match(text) is not None


def without_query(url: str) -> str:
    """Scheme, host and path: what may be shown and kept. The rest may hold a signature, which is a secret."""
    return re.split(r"[?#]", url, maxsplit=1)[0]


class ListedHosts:
    """The hosts from which a manifest allows pictures: names, or `*.` and the end of many names."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        names = [name.lower() for name in names]
        self._names = frozenset(name for name in names if not name.startswith("*."))
        self._endings = tuple(name[1:] for name in names if name.startswith("*."))

    def __bool__(self) -> bool:
        return bool(self._names or self._endings)

    def host_problem(self, url: str) -> str | None:
        """What to write if the host of a plain address is not listed; None if it is."""
        found = _PLAIN.match(url)
        host = "" if found is None else found["host"].lower()
        if host in self._names or (host and host.endswith(self._endings)):
            return None
        how = f"add {show(host)} to reference_hosts" if self else f"write reference_hosts: [{show(host)}]"
        return f"pictures from {show(host)} are not fetched; to allow it {how}"

    def allows(self, url: str) -> bool:
        """Whether an address is plain and its host listed."""
        return form_problem(url) is None and self.host_problem(url) is None


def form_problem(url: str) -> str | None:
    """What is wrong with an address whatever the manifest lists, to follow its name; None if nothing is."""
    if re.match("https://", url, re.IGNORECASE) is None:
        return "is no https:// address; save the picture beside the manifest"
    if len(re.findall("https?://", url, re.IGNORECASE)) > 1:
        return 'holds several addresses; name the column and what stands between them: {column: Images, split: ","}'
    if _PLAIN.fullmatch(url.partition("#")[0]) is None or len(url) > _LONGEST:
        return "is no plain address; it must be https://name.of.host/path with %20 for a space, and no user, port or \\"
    return None
