"""Our own filters on the texts that shops really have."""

from __future__ import annotations

import unicodedata

import pytest

from batch.manifest.ids import id_problem
from batch.manifest.templating.filters import as_id, shorten, strip_html, unescape, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain  text\n with\tspace", "plain text with space"),
        ("<p>a<br>b</p><p>c</p>", "a b c"),
        ("<ul>\n<li>Two pockets</li><li>Oak</li></ul>", "Two pockets Oak"),
        ("<table><tr><td>Size</td><td>M</td></tr></table>", "Size M"),
        ("<h2>Soft</h2>Warm<hr/>Light", "Soft Warm Light"),
        ("Very <strong>soft</strong>, <em>H<sub>2</sub>O</em>-proof <b>K</b>ite.", "Very soft, H2O-proof Kite."),
        ("<div><p><span style='color:red'>Red</span></p><div>Kite</div></div>", "Red Kite"),
        ("<p>never closed <b>bold", "never closed bold"),
        ("a stray </p> end</div>", "a stray end"),
        ("x &lt; y &nbsp; z&#39;s &eacute;&amp;&euro;", "x < y z's é&€"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("width <30 cm, height >5 cm", "width <30 cm, height >5 cm"),
        ("a & b, AT&T", "a & b, AT&T"),
        ("<style>p{}</style>a<!-- b > c -->d<script type='x'>if (1<2) {}</script>", "a d"),
        ("<SCRIPT>x</SCRIPT\n>a<Style\n>b", "a"),
        ("a<!-- never closed", "a"),
        ('<a title="5 > 4" href="https://example.com/?a=1&b=2">link</a>', "link"),
        ("<img alt='a' src=x>Kite<img/>", "Kite"),
        ('<p class="unclosed>Kite</p>', "Kite"),
        ('Cut off <a href="https://exam', "Cut off"),
        ("Cut off </stro", "Cut off"),
        ("<!DOCTYPE html><?xml version='1.0'?><![CDATA[Kite]]>", "Kite"),
        ("<o:p></o:p><font face=Arial>Kite</font>", "Kite"),
        ("&lt;p&gt;Escaped &amp;amp; once&lt;br&gt;more&lt;/p&gt;", "Escaped & once more"),
        ("soft&shy;ware, zero&#8203;width", "software, zerowidth"),
        ("<p>\u00a0</p><p>&nbsp;</p>", ""),
        ("<p>一壶两杯，<br>哑光白瓷</p>", "一壶两杯， 哑光白瓷"),
        ("{{ 7*7 }} <b>{% raw %}</b>", "{{ 7*7 }} {% raw %}"),
    ],
)
def test_strip_html(text: str, expected: str) -> None:
    """The words of a description: blocks and breaks separate words, tags within a word do not."""
    assert strip_html(text) == expected


@pytest.mark.parametrize("piece", ["<a ", "<p title='", "<script>", "<!--", "</", '<a b="', "&lt;", "<![CDATA["])
def test_markup_without_end_is_searched_once(piece: str) -> None:
    """A cell made to be slow is no slower than a page of text; a search from every tag to the end took minutes."""
    assert len(strip_html(piece * (130_000 // len(piece)))) <= 130_000


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("a  b\nc", 2, "a b"),
        ("a b", 9, "a b"),
        ("Grüne Größe, weiß", 2, "Grüne Größe,"),
        ("", 3, ""),
        ("一壶两杯，哑光白瓷", 4, "一壶两杯"),
        ("一壶两杯，哑光白瓷", 5, "一壶两杯，哑"),
        ("一壶两杯。", 9, "一壶两杯。"),
        ("USB 充电 lamp 灯", 3, "USB 充电"),
        ("ティーカップ set", 3, "ティー"),
        ("파란 연 하늘", 2, "파란 연"),
        ("Red kite 🪁 sky", 3, "Red kite 🪁"),
    ],
)
def test_words(text: str, count: int, expected: str) -> None:
    """The first words; where a script has no spaces, each character is one."""
    assert words(text, count) == expected


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [
        ("short", 5, "short"),
        ("washed linen apron", 12, "washed linen"),
        ("washed linen apron", 11, "washed"),
        ("washed linen apron", 13, "washed linen"),
        ("washed linen, apron", 15, "washed linen"),
        ("unbreakable", 5, "unbre"),
        ("  a \n b  c ", 3, "a b"),
        ("一壶两杯，哑光白瓷", 5, "一壶两杯"),
        ("一壶两杯 lamps", 7, "一壶两杯"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301"),
        ("", 1, ""),
    ],
)
def test_shorten(text: str, length: int, expected: str) -> None:
    """So many characters at most, whole words, no dots in place of the rest."""
    assert shorten(text, length) == expected
    assert len(shorten(text, length)) <= length


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"<ul>\n<li>350 ml</li>\n</ul>", "<ul>\n<li>350 ml</li>\n</ul>"),
        (r"a\r\nb", "a\nb"),
        (r"C:\\new", r"C:\new"),
        ("'-20% Tote", "-20% Tote"),
        ("'=Best value", "=Best value"),
        ("'tis a mug", "'tis a mug"),
        ("it's -5", "it's -5"),
        ("'", "'"),
        ("", ""),
    ],
)
def test_unescape_undoes_what_an_export_does(text: str, expected: str) -> None:
    """A backslash with an n is a line end, an apostrophe before a sign is none of the shop's."""
    assert unescape(text) == expected


@pytest.mark.parametrize("text", ["kite", "Mug-1", "A.2_b"])
def test_an_id_stays_itself(text: str) -> None:
    """What may be an id is one already."""
    assert as_id(f" {text} ") == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("чайник", "chaynik"),
        ("Ярко-синий щит", "yarko-siniy-shchit"),
        ("あおい", "aoi"),
        ("찻잔", "casjan"),
        ("crème brûlée", "creme-brulee"),
        ("x" * 200, "x" * 40),
        ("con", "con"),
    ],
)
def test_as_id_keeps_what_can_be_read(text: str, words: str) -> None:
    """Latin letters are left, and a hash keeps different texts apart; both forms of an accent are one text."""
    made = as_id(text)
    assert made.rpartition("-")[0] == words
    assert id_problem(made, samples=1000) is None
    assert as_id(unicodedata.normalize("NFD", text)) == made
    assert as_id(f"{text} 青") != as_id(f"{text} 茶")
