"""What a job may be called.

An id becomes a file name, so it is limited to what every file system keeps apart: ASCII letters, digits,
dot, underscore and hyphen, at most 100 bytes, compared without regard to case.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from batch.manifest.problems import show

MAX_ID_BYTES: Final = 100
#: In each other, around a picture.
MAX_FOLDERS: Final = 5
#: A folder so called could be in the way of a picture.
_PICTURE_ENDING: Final = re.compile(r"(?i)\.[a-z]{2,4}$")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: Most ids, of which nothing else needs to be asked: no dot, not as short as a device's name, and room for a sample.
_ORDINARY_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{4,79}")
_SLUG_CHARACTERS: Final = 40
_NOTHING_HASHED: Final = hashlib.blake2b(digest_size=16)

#: Device names on Windows, whatever follows the first dot: output folders are synced to such machines.
_RESERVED: Final = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
)
_FORBIDDEN_IN_NAMES: Final = frozenset('/\\:*?"<>|')


def id_problem(text: str, *, samples: int = 1) -> str | None:
    """Why this cannot be a job's id, as a sentence; None if it can."""
    if _ORDINARY_ID.fullmatch(text) is not None:
        return None
    longest = text if samples == 1 else sample_id(text, samples)
    if not text.strip():
        return "id is empty; write a name or leave the id out"
    if _ID.fullmatch(text) is None:
        return f"id may hold a-z, A-Z, 0-9, dot, _ and -, and begins with a letter or digit; got {show(text)}"
    if len(longest) > MAX_ID_BYTES:
        counted = "" if samples == 1 else " with its sample number"
        return f"id is {len(longest)} characters long{counted}; at most {MAX_ID_BYTES} are allowed"
    if text.endswith("."):
        return f"id ends with a dot, which Windows drops; got {show(text)}"
    if text.partition(".")[0].lower() in _RESERVED:
        return f"id {show(text)} is a device name on Windows; choose another"
    return None


def path_problem(text: str) -> str | None:
    """Why this cannot be a picture's name with folders, as `Acme/kite`, as a sentence; None if it can.

    Each part is as limited as an id, for the same reasons.
    """
    parts = text.split("/")
    if len(parts) > MAX_FOLDERS + 1:
        return f"the name has {len(parts) - 1} folders; at most {MAX_FOLDERS} are allowed; got {show(text)}"
    if any(_PICTURE_ENDING.search(folder) for folder in parts[:-1]):
        return f"a folder must not end like a picture's name; got {show(text)}"
    for part in parts:
        wrong = id_problem(part)
        if wrong is not None:
            where = "the name" if len(parts) == 1 else f"a part of the name {show(text)}"
            return f"{where} {wrong.removeprefix('id ')}".replace("write a name or leave the id out", "fill it in")
    return None


def without_accents(text: str) -> str | None:
    """The id without the accents; None if the result is not an id, or if there were no accents."""
    bare = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return bare if bare != text and id_problem(bare) is None else None


def name_problem(text: str) -> str | None:
    """Why this cannot be a run's name (it becomes a folder); None if it can. Any language is welcome."""
    if not text or text[0] in ".-~ " or text[-1] in ". ":
        return "name must not be empty, start with . - ~ or space, or end with a dot or space"
    if not text.isprintable() or _FORBIDDEN_IN_NAMES & set(text):
        return f'name must not hold / \\ : * ? " < > | or invisible characters; got {show(text)}'
    if len(text.encode()) > MAX_ID_BYTES:
        return f"name is {len(text.encode())} bytes long; at most {MAX_ID_BYTES} are allowed"
    if text.partition(".")[0].lower() in _RESERVED:
        return f"name {show(text)} is a device name on Windows; choose another"
    return None


def sample_id(job_id: str, sample: int) -> str:
    """The id of one of several samples: `shirt.3`."""
    return f"{job_id}.{sample}"


def id_key(job_id: str) -> bytes:
    """Sixteen bytes that are equal when two ids would meet in some file system."""
    folded = job_id.lower() if job_id.isascii() else unicodedata.normalize("NFC", job_id).casefold()
    hashed = _NOTHING_HASHED.copy()  # quicker than a new one
    hashed.update(folded.encode())
    return hashed.digest()


def derived_id(prompt: str, content: Iterable[object], *, digits: int, variant: tuple[str, ...] = ()) -> str:
    """A readable name that depends on nothing but what the job asks for, so reordering changes no id.

    Nor does white space in the prompt: such an edit changes jobs, it must not make new ones of all that were bought.
    """
    if variant:
        content = [*content, variant]
    facts = json.dumps([" ".join(prompt.split()), *content], ensure_ascii=True, separators=(",", ":"))
    digest = hashlib.blake2b(facts.encode("ascii"), digest_size=16).hexdigest()[:digits]
    words = [shortened_slug(prompt) or "picture", shortened_slug(" ".join(variant)), digest]
    return "-".join(filter(None, words))


def shortened_slug(text: str) -> str:
    """The slug of a text's beginning, cut between words."""
    # Four times the characters leave enough after punctuation is dropped; a whole long prompt would be waste.
    words = slug(text[: 4 * _SLUG_CHARACTERS])
    if len(words) <= _SLUG_CHARACTERS:
        return words
    cut = words[: _SLUG_CHARACTERS + 1]
    return cut.rpartition("-")[0] or words[:_SLUG_CHARACTERS]


def slug(text: str) -> str:
    """Lower-case ASCII words joined by hyphens: `Crème brûlée, 2x` becomes `creme-brulee-2x`."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
