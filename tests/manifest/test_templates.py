"""Templates are filled from rows; rows are data; mistakes are found before the first row."""

from __future__ import annotations

import pytest

from batch.manifest.templating.templates import Columns, Template, TemplateProblem, is_template

COLUMNS = Columns(["Handle", "Title", "Body (HTML)", "Variant SKU", "A B", "A-B", "if", "row", "2nd", ""])
ROW = ["kite", "Red Kite", "<p>light &amp; fast</p>", "K-1", "x", "y", "cond", "r", "second", "z"]


def fill(text: str) -> str:
    return Template(text, COLUMNS).fill(ROW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ Title }}", "Red Kite"),
        ("{{Title}} on {{ Handle }}.\n", "Red Kite on kite.\n"),
        ('{{ row["Body (HTML)"] }}', "<p>light &amp; fast</p>"),
        ("{{ Body_HTML | strip_html }}", "light & fast"),
        ("{{ Body_HTML | strip_html | slug }}", "light-fast"),
        ("{{ Body_HTML | strip_html | words(2) | slug }}", "light"),
        ("{{ (' a  b\\nc ') | words(2) }}{{ Title | words(9) }}", "a bRed Kite"),
        ("{{ Variant_SKU }} 100% {x} $5 %s", "K-1 100% {x} $5 %s"),
        ('{{ row["A B"] }}{{ row["A-B"] }}', "xy"),
        ('{{ row["if"] }}{{ row["row"] }}{{ _2nd }}', "condrsecond"),
        ("{{ Title | shorten(5) }}", "Red"),
        ("{{ '$1,299.00' | float + '2,5 €' | float }} {{ '1,299' | int }} {{ '' | float }}", "1301.5 1299 0.0"),
        ("{{ Title | float(7) }} {{ 3 | float }}", "7 3.0"),
        ("{% if Title %}by {{ Title | upper }}{% endif %}", "by RED KITE"),
        ("{{ Title[:3] }}{# a remark #}", "Red"),
        ('{{ row[Handle ~ ""] if False else "-" }}', "-"),
        ("{{ 2 * 3 }}", "6"),
        ("{{ ['a', 'b'] | join(', ') }}{{ 'xyz'.join('ab') }}", "a, baxyzb"),
        ("{{ [{'n': 'a'}, {'n': 'b'}] | join('+', attribute='n') }}", "a+b"),
        ("{{ Title | replace('e', 'E', 1) }}{{ Title | replace(old='e', new='') }}", "REd KiteRd Kit"),
        ("{{ Handle.replace('k', 'c') ~ 7 ~ True }}", "cite7True"),
        ("{% for x in 'abc' %}{{ loop.index }}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}", "1a,2b,3c"),
        ("{% for x in 'ab' %}{{ loop.length }}{% endfor %}{% for x in [] %}{% else %}none{% endfor %}", "22none"),
        ("{% for x in [['a', ['b']]] recursive %}{{ x if x is string else loop(x) }}{% endfor %}", "ab"),
        ("{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}{{ twice(Handle) }}", "kitekite"),
        ("{{ 19.956 | round(2) }}{{ 'a' ~ ('1' | int + 1) }}{{ 7.5 | round(method='ceil') | int }}", "19.96a28"),
    ],
)
def test_filled(text: str, expected: str) -> None:
    """Plain columns, odd names, filters and conditions."""
    assert fill(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{{ Title }}!",
        "{{ Body_HTML|slug }}",
        "{{ Title|words(1) }}",
        "{{ Title|shorten(4) }}",
        '{{ row["A B"] }}',
        "a\r\nb{{ Title }}\n\n",
    ],
)
def test_the_short_way_gives_what_jinja_gives(text: str) -> None:
    """Templates that only name columns skip Jinja, with the same result."""
    short = Template(text, COLUMNS)
    long = Template(text + "{% if 0 %}{% endif %}", COLUMNS)

    assert short.is_plain
    assert not long.is_plain
    assert short.fill(ROW) == long.fill(ROW)


def test_a_cell_is_never_a_template() -> None:
    """What stands in a table is data, whatever it looks like."""
    columns = Columns(["a"])

    assert Template("{{ a }}{% if 1 %}{{ a }}{% endif %}", columns).fill(["{{ 1/0 }}"]) == "{{ 1/0 }}{{ 1/0 }}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ Titel }}", 'no column "Titel"; did you mean Title?'),
        ("{{ zzz }}", 'no column "zzz"; known columns: '),
        ('{{ row["Body"] }}', 'no column "Body"; '),
        ("{{ A_B }}", '"A_B" could be several columns; write row["A B"] or row["A-B"]'),
        ("{{ Title", "the template cannot be read (its line 1): unexpected end of template"),
        ("a\n{% for %}", "the template cannot be read (its line 2): "),
        ("{{ Title | center(1000000000) }}", 'the template cannot be read: no filter "center"; '),
        ("{{ Title | slgu }}", 'the template cannot be read: no filter "slgu"; did you mean slug?'),
        ("{% include 'x' %}", "include, extends and import are not available"),
        ("{{ range(3) }}", 'no column "range"; '),
        ("{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}", "the template cannot be read"),
    ],
)
def test_found_before_the_first_row(text: str, expected: str) -> None:
    """A wrong template is one problem, however many rows there are."""
    with pytest.raises(TemplateProblem) as caught:
        Template(text, COLUMNS)

    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ Title.__init__.__globals__ }}",
        "{{ row.update({'a': 1}) }}",
        "{{ 'a' * 1000000000 }}",
        "{{ ['a'] * 1000000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ Title.center(1000000000) }}",
        "{{ '{0:1000000000}'.format(1) }}",
        "{{ 1 / 0 }}",
        "{{ Title + 1 }}",
        "{{ Title | words(0) }}",
        "{{ Title | words('3') }}",
        "{{ Title | words }}",
        "{{ Title | shorten(0) }}",
        "{{ Title | float }}",
        "{{ Title | int }}",
        "{{ Title.nothing }}",
        "{{ row[Title] }}",
        "{% for a in Title %}{% for b in Title %}{% for c in Title %}{% for d in Title %}{% for e in Title %}"
        "{% for f in Title %}{{ Title }}{{ Title }}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}"
        "{% endfor %}",
        "{% set x = Title %}" + "{% set x = x ~ x %}" * 40,
        "{% set x = Title %}" + "{% set x = x + x %}" * 40,
        "{% set x = [Title] %}" + "{% set x = x + x %}" * 40,
        "{% set x = Title %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 40,
        "{% set x = 10 ** 16 %}" + "{% set x = x * x %}" * 40,
        "{% set x = [Title] %}" + "{% set x = [x, x] %}" * 40 + "{{ x | string | length }}",
        "{{ Title" + " | replace('', Title)" * 40 + " | length }}",
        "{{ Title" + ".replace('', Title)" * 40 + " | length }}",
        "{{ Title" + " | join(Title)" * 40 + " | length }}",
        "{{ 'aaaaaaaaaa'" + " | replace('a', 'aaaaaaaaaa')" * 9 + " }}",
        "{{ (1).to_bytes(1000000000, 'big') }}",
        "{{ Title.translate({82: Title}) }}",
        "{{ 3 | round(1000000000, 'ceil') }}",
        "{% set x = '1234567890' %}" + "{% for a in x %}" * 9 + "{% endfor %}" * 9,
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set x = Title %}"
        + "{% set x = x ~ x %}" * 13
        + "{% for a in x %}{% set y = x | upper | lower | title %}{% endfor %}",
    ],
    ids=lambda text: text[-60:],
)
def test_stopped_while_filling(text: str) -> None:
    """What the sandbox forbids, what has no value and what grows too long is a problem, soon."""
    with pytest.raises(TemplateProblem):
        fill(text)


def test_what_takes_too_long_is_found_out_once() -> None:
    """A table has a million rows, and the template is the same for all of them."""
    template = Template("{% set x = 'abcdefghij' %}" + "{% for a in x %}" * 9 + "{% endfor %}" * 9, COLUMNS)
    for _ in range(100):
        with pytest.raises(TemplateProblem, match="it takes more than 5,000,000 steps for one row"):
            template.fill(ROW)


def test_literal_text_is_no_template() -> None:
    """Single braces, percent signs and dollars mean themselves."""
    assert not is_template('{"a": 1} 100% $5 {x}')
    assert is_template("{{ x }}")
