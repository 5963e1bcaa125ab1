"""What counts as a web address in an answer, and where it ends."""

from __future__ import annotations

import pytest

from batch.providers.answers.links import links_in, web_address

CUP = "https://cdn.example/f/cup.png"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (f" <{CUP}> ", CUP),
        (f'"{CUP}?sig=a b"', None),
        ("https://cdn.example/my cup.png", "https://cdn.example/my%20cup.png"),
        (f"{CUP} is ready", None),
        ("https://cdn.example/f/77 is ready", None),
        (f"{CUP} https://cdn.example/small.png", None),
        ("https://cdn.example/f/77 //cdn.example/small.png", None),
    ],
)
def test_an_address_with_words_behind_it_is_a_text(text: str, url: str | None) -> None:
    """A space may stand in a picture's name; it does not lead from an address into a sentence or to the next one."""
    assert web_address(text) == url


def test_each_address_of_a_sentence_is_found_by_itself() -> None:
    """Also where the sentence begins with one."""
    links = links_in(f"{CUP} or https://cdn.example/f/77, see https://help.example/.")
    assert [link.url for link in links] == [CUP, "https://cdn.example/f/77", "https://help.example/"]
