"""Several providers, lanes and fallback models: what they become, and what they may not be."""
# ruff: noqa: E501  # a table reads best with one case on one line

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batch.core.lane import Lane
from batch.core.settings import Auth, Fallback, FallbackOn, Limits, ProviderSettings, Settings
from batch.manifest import load_manifest

if TYPE_CHECKING:
    from tests.manifest.conftest import Folder

ONE_JOB = "\njobs: [{prompt: x}]"
FIVE = "1:1, 3:4, 4:3, 9:16, 16:9"
TEN = "1:1, 2:3, 3:2, 3:4, 4:3, 4:5, 5:4, 9:16, 16:9, 21:9"


def settings(folder: Folder, text: str) -> Settings:
    return load_manifest(folder.write("m.yaml", text + ONE_JOB)).settings


def test_a_list_becomes_endpoints_in_its_order(folder: Folder) -> None:
    """Words and mappings, with everything that can be said of one."""
    text = """
provider:
  - {profile: anyfast, name: main, weight: 3, limits: {concurrency: 16, requests_per_minute: 300}}
  - {profile: anyfast, name: second, key_env: ANYFAST_SECOND_KEY, prices: {1K: 0.05}}
  - google
  - {profile: google, base_url: "https://relay.example/x/", auth: bearer, weight: 0.5}
limits: {concurrency: 4, requests_per_day: 1000}
"""
    assert settings(folder, text).providers == (
        ProviderSettings(
            profile="anyfast",
            name="main",
            weight=3.0,
            limits=Limits(concurrency=16, requests_per_minute=300, requests_per_day=1000),
        ),
        ProviderSettings(profile="anyfast", name="second", key_env="ANYFAST_SECOND_KEY", prices={"1K": 0.05}),
        ProviderSettings(profile="google", name="google"),
        ProviderSettings(
            profile="google", name="google-2", base_url="https://relay.example/x", auth=Auth.BEARER, weight=0.5
        ),
    )


@pytest.mark.parametrize(
    ("provider", "names"),
    [
        ("anyfast", ["anyfast"]),
        ("[anyfast]", ["anyfast"]),
        ("{profile: google, name: mine, weight: 7}", ["mine"]),
        ("[simulator, simulator, simulator]", ["simulator", "simulator-2", "simulator-3"]),
        ("[{profile: simulator, name: simulator-2}, simulator]", ["simulator-2", "simulator"]),
        (
            "[{profile: simulator, name: a}, simulator, {profile: simulator, name: b}, simulator]",
            ["a", "simulator", "b", "simulator-2"],
        ),
        ("[google, anyfast, {profile: google, key_env: OTHER}]", ["google", "anyfast", "google-2"]),
    ],
)
def test_each_has_a_name(folder: Folder, provider: str, names: list[str]) -> None:
    """Given, or the profile's, numbered where more of a kind have none."""
    assert [each.name for each in settings(folder, f"provider: {provider}").providers] == names


LIMITS = [
    ("{}", None),
    ("{adaptive: false}", Limits(concurrency=4, requests_per_minute=60, adaptive=False)),
    ("{requests_per_minute: null}", Limits(concurrency=4)),
    ("{concurrency: 8}", Limits(concurrency=8, requests_per_minute=60)),
]


@pytest.mark.parametrize(("written", "expected"), LIMITS)
def test_limits_of_one_replace_the_manifests_field_by_field(
    folder: Folder, written: str, expected: Limits | None
) -> None:
    """What is not written stays as it is for all, whether it was said or is a default; null takes a limit away."""
    top = "\nlimits: {concurrency: 4, requests_per_minute: 60}"
    found = settings(folder, f"provider: {{profile: google, limits: {written}}}{top}")

    assert found.providers[0].limits == expected
    assert found.limits == Limits(concurrency=4, requests_per_minute=60)


FLASH, PRO, OLD = "gemini-3.1-flash-image", "gemini-3-pro-image", "gemini-2.5-flash-image"
FALLBACKS = [
    (PRO, Fallback(models=(PRO,))),
    (f"[{PRO}, {OLD}]", Fallback(models=(PRO, OLD))),
    (f"{{models: {PRO}}}", Fallback(models=(PRO,))),
    (f"{{models: [{OLD}], on: safety}}", Fallback(models=(OLD,), on=(FallbackOn.SAFETY,))),
    (
        f"{{models: [{OLD}], on: [safety, overload, safety]}}",
        Fallback(models=(OLD,), on=(FallbackOn.SAFETY, FallbackOn.OVERLOAD)),
    ),
    ("null", Fallback()),
]


@pytest.mark.parametrize(("written", "expected"), FALLBACKS)
def test_fallback_in_all_its_forms(folder: Folder, written: str, expected: Fallback) -> None:
    """A model, several, or a mapping that says when."""
    assert settings(folder, f"fallback: {written}").fallback == expected


def test_without_a_word_there_is_one_provider_one_lane_and_no_fallback(folder: Folder) -> None:
    """As ever."""
    found = settings(folder, "")
    assert found.providers == (ProviderSettings(profile="simulator", name="simulator"),)
    assert (found.lane, found.fallback) == (Lane.STANDARD, Fallback())


@pytest.mark.parametrize("provider", ["google", "simulator", "[anyfast, google]"])
def test_flex_where_somebody_has_it(folder: Folder, provider: str) -> None:
    """One of several is enough."""
    assert settings(folder, f"provider: {provider}\nlane: flex").lane is Lane.FLEX


def test_a_fallback_of_ones_own(folder: Folder) -> None:
    """Where every provider has an address of its own, any model may be named."""
    relays = "[{profile: anyfast, base_url: 'https://a.example'}, {profile: google, base_url: 'https://b.example'}]"
    assert settings(folder, f"provider: {relays}\nmodel: new-5\nfallback: old-4").fallback.models == ("old-4",)


@pytest.mark.parametrize(
    "providers",
    [
        "[anyfast, {profile: anyfast, key_env: B}]",
        "[anyfast, {profile: anyfast, base_url: 'https://relay.example'}]",
        "[anyfast, {profile: google, key_env: ANYFAST_API_KEY}]",
        "[{profile: simulator, base_url: 'http://127.0.0.1:1'}, {profile: simulator, base_url: 'http://127.0.0.1:2'}]",
        "[{profile: anyfast, limits: {concurrency: 1000}}, {profile: google, limits: {concurrency: 24}}]",
        "[" + ", ".join(["simulator"] * 32) + "]",
    ],
)
def test_what_may_stand_side_by_side(folder: Folder, providers: str) -> None:
    """Another key, another address, or a simulator with nothing to double."""
    assert len(settings(folder, f"provider: {providers}").providers) > 1


SAME = "so its quota would count twice; name another key in key_env, or remove one"
BAD: dict[str, tuple[str, list[str]]] = {
    "empty": ("provider: []", ["1:11: provider must not be an empty list; name at least one provider"]),
    "number": ("provider: 3", ["1:11: provider must be a word such as anyfast, a mapping, or a list of these; got 3"]),
    "nothing": (
        "provider:",
        ["1:10: provider must be a word such as anyfast, a mapping, or a list of these; got nothing"],
    ),
    "items": (
        "provider: [anyfast, 3, [google]]",
        [
            "1:21: every provider must be a text or a mapping; got 3",
            "1:24: every provider must be a text or a mapping; got a list",
        ],
    ),
    "word": (
        "provider: [google, gogle]",
        [
            "1:20: provider must be one of anyfast, google, openai, simulator, simulator-openai; did you mean google? others are packages to install, or base_url with one of these formats; got gogle"
        ],
    ),
    "drawn among paid": (
        "provider: [anyfast, simulator]",
        [
            "1:21: the built-in simulator draws its pictures, and they would count as bought; remove it, or let all "
            "providers be simulators"
        ],
    ),
    "too many": ("provider: [" + ", ".join(["simulator"] * 33) + "]", ["1:11: 33 providers; at most 32 are allowed"]),
    "burst alone": (
        "limits: {burst: 5}\nprovider: google",
        ["1:17: burst needs a rate; write requests_per_second or requests_per_minute beside it"],
    ),
    "burst of one": (
        "provider: [google, {profile: anyfast, limits: {burst: 5}}]",
        ["1:55: burst needs a rate; write requests_per_second or requests_per_minute beside it"],
    ),
    "fields of one": (
        "provider:\n- google\n- {profile: anyfast, nam: a, weight: 0, limits: {concurrency: 0, x: 1}, prices: {3K: 1}}",
        [
            '3:22: unknown field "nam"; did you mean name?',
            "3:38: weight must be a number above 0 and up to 1,000; got 0",
            "3:63: concurrency must be a whole number from 1 to 1,024; got 0",
            '3:66: unknown field "x"; known fields: concurrency, requests_per_second, burst, requests_per_minute, tokens_per_minute, images_per_minute, requests_per_day, images_per_day, day_resets_at, adaptive',
            "3:81: prices must name sizes out of 512, 1K, 2K, 4K, or pixels such as 1536x1024; got 3K",
        ],
    ),
    **{
        f"weight {word}": (
            f"provider: {{profile: google, weight: {word}}}",
            [f"1:37: weight must be a number above 0 and up to 1,000; got {got}"],
        )
        for word, got in {
            "-1": "-1",
            "1001": "1001",
            ".nan": "nan",
            ".inf": "inf",
            "true": "true",
            "~": "nothing",
            '"2"': 'the text "2", so remove the quotes',
        }.items()
    },
    **{
        f"name {name[:8]}": (
            f"provider: {{profile: google, name: {name}}}",
            [f"1:35: name must be 1 to 40 letters, digits, dot, _ and -, and begin with a letter or digit; got {name}"],
        )
        for name in ("-a", "a b", "a/b", "é", "a" * 41, "12")
    },
    "name twice": (
        "provider:\n- {profile: google, name: a}\n- {profile: anyfast, name: a}",
        ["3:28: the provider on line 2 is called a too; give different names"],
    ),
    "name of a default before it": (
        "provider:\n- google\n- {profile: anyfast, name: google}",
        ["3:28: the provider on line 2 is called google too by default; give different names"],
    ),
    "name of a default after it": (
        "provider:\n- {profile: simulator, name: simulator-2}\n- simulator\n- simulator",
        ["2:30: the provider on line 4 is called simulator-2 too by default; give different names"],
    ),
    "key twice": (
        "provider:\n- google\n- google",
        [f"3:3: same endpoint and key (GEMINI_API_KEY) as the provider on line 2, {SAME}"],
    ),
    "key twice, once by default": (
        "provider:\n- anyfast\n- {profile: anyfast, name: b, key_env: ANYFAST_API_KEY}",
        [f"3:3: same endpoint and key (ANYFAST_API_KEY) as the provider on line 2, {SAME}"],
    ),
    "key twice, address written out": (
        "provider:\n- anyfast\n- {profile: anyfast, base_url: 'https://www.AnyFast.ai/'}",
        [f"3:3: same endpoint and key (ANYFAST_API_KEY) as the provider on line 2, {SAME}"],
    ),
    "key twice, other profile": (
        "provider:\n- {profile: google, base_url: 'https://a.example', key_env: K}\n- {profile: anyfast, base_url: 'https://a.example', key_env: K}",
        [f"3:3: same endpoint and key (K) as the provider on line 2, {SAME}"],
    ),
    "a wrong address is no default one": (
        "provider:\n- anyfast\n- {profile: anyfast, base_url: 'http://x'}",
        ["3:32: base_url must begin with https://; only this machine may be spoken to over http"],
    ),
    "concurrency of all": (
        "limits: {concurrency: 600}\nprovider: [google, anyfast]",
        ["2:11: concurrency of all providers together is 1,200; lower it in their limits to 1,024 or less"],
    ),
    "lane": ("lane: fast", ["1:7: lane must be one of standard, flex; got fast"]),
    "lane of nobody": (
        "provider: [anyfast, {profile: anyfast, key_env: B}]\nlane: flex",
        ["2:7: lane flex: no provider of this manifest has it; google and simulator have it, else remove lane"],
    ),
    "lane of nobody known": (
        "provider: [anyfast, gogle]\nlane: flex",
        [
            "1:21: provider must be one of anyfast, google, openai, simulator, simulator-openai; did you mean google? others are packages to install, or base_url with one of these formats; got gogle"
        ],
    ),
    "fallback number": ("fallback: 3", ["1:11: fallback must be a model, a list of models, or a mapping; got 3"]),
    "fallback empty": ("fallback: []", ["1:11: fallback must not be an empty list; name a model"]),
    "fallback item": ("fallback: [3]", ["1:12: fallback must be text; quote it; got 3"]),
    "fallback key": ("fallback: {model: a}", ['1:12: unknown field "model"; did you mean models?']),
    "fallback models": ("fallback: {on: safety}", ["1:11: models is missing; add it"]),
    "fallback on": (f"fallback: {{models: {PRO}, on: error}}", ["1:44: on must be one of overload, safety; got error"]),
    "fallback on nothing": (
        f"fallback: {{models: {PRO}, on: []}}",
        ["1:44: on must not be an empty list; name overload, safety or both"],
    ),
    "fallback twice": (f"fallback: [{PRO}, {PRO}]", [f"1:32: fallback names {PRO} twice; keep one"]),
    "fallback retired": (
        f"fallback: {{models: [{PRO}, {PRO}-preview]}}",
        [f"1:41: model {PRO}-preview was retired; write {PRO}"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_may_not_be_is_told(folder: Folder, case: str) -> None:
    """Everything at once, with its place and what would be right."""
    text, expected = BAD[case]
    assert folder.problems(text + ONE_JOB) == [f"m.yaml:{each}" for each in expected]


RELAY = "{profile: google, name: relay, base_url: 'https://relay.example'}"
#: provider and the rest of the top, fields of the job, the problem.
MISFITS = {
    "ratio": (
        "provider: [google, {profile: anyfast, name: main}]",
        "aspect_ratio: 2:3",
        f"aspect_ratio must be one of {FIVE} for {FLASH} at provider main; got 2:3",
    ),
    "no ratio at all": (
        "provider: [google, {profile: google, key_env: B}]",
        "aspect_ratio: 7:3, model: gemini-3-pro-image",
        f"aspect_ratio must be one of {TEN} for {PRO}; got 7:3",
    ),
    "model's name": (
        f"provider: [{RELAY}]",
        "model: ../new",
        "model may hold letters, digits, dot, _ and -; got ../new",
    ),
    "fallback's size": (
        f"fallback: [{PRO}, {OLD}]",
        "image_size: 2K",
        f"fallback: image_size must be 1K for {OLD}; got 2K",
    ),
    "fallback's ratio": (
        f"fallback: {PRO}",
        "aspect_ratio: 1:8",
        f"fallback: aspect_ratio must be one of {TEN} for {PRO}; got 1:8",
    ),
    "fallback's references": (
        f"fallback: {OLD}",
        "references: [a, b, c, d]",
        f"fallback: 4 references; {OLD} takes at most 3",
    ),
    "fallback's references by wildcard": (
        f"fallback: {OLD}",
        "references: ['[a-d]']",
        f"fallback: 4 references; {OLD} takes at most 3",
    ),
    "its own first": (
        f"fallback: {OLD}",
        f"image_size: 512, model: {PRO}",
        f"image_size must be one of 1K, 2K, 4K for {PRO}; got 512",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_every_provider_and_fallback_must_fit_every_job(folder: Folder, case: str) -> None:
    """Any of them may get the job."""
    for name in "abcd":
        folder.picture(name)
    top, job, expected = MISFITS[case]
    [problem] = folder.problems(f"{top}\njobs: [{{prompt: x, {job}}}]")
    assert problem.partition(": ")[2] == expected


def test_rows_are_checked_against_fallbacks_too(folder: Folder) -> None:
    """What comes from a table is told by its line; ten of a kind are listed, the others counted."""
    folder.write("t.csv", "n,size,ratio\n0,1K,1:1\n" + "".join(f"{n},2K,3:4\n" for n in range(1, 14)) + "99,1K,1:8\n")
    job = "{id: 'j-{{ n }}', prompt: '{{ n }}', image_size: '{{ size }}', aspect_ratio: '{{ ratio }}'}"
    problems = folder.problems(f"rows: t.csv\nfallback: {OLD}\njobs: [{job}]")

    wrong = f"fallback: image_size must be 1K for {OLD}"
    assert problems[0] == f't.csv:3: job "j-1": {wrong}; got 2K'
    assert problems[10:] == [
        f"t.csv:13: and 3 more rows, to line 15: {wrong}",
        f't.csv:16: job "j-99": fallback: aspect_ratio must be one of {TEN} for {OLD}; got 1:8',
    ]


def test_a_job_of_a_fallback_model_passes_over_it(folder: Folder) -> None:
    """It is asked for by its own right, and only the others are looked at."""
    text = f"provider: google\nfallback: [{PRO}, {OLD}]\njobs:\n- {{prompt: x, model: {PRO}}}\n- {{prompt: x, model: {OLD}}}\n- {{prompt: y}}"
    assert [job.model for job in folder.jobs(text)] == [PRO, OLD, "gemini-3.1-flash-image"]


def test_a_wrong_provider_does_not_hide_what_else_is_wrong(folder: Folder) -> None:
    """The others of the list are checked, and the jobs against them."""
    text = "provider: [{profile: anyfast, auth: basic}, gogle]\njobs: [{prompt: x, aspect_ratio: 2:3}]"
    assert folder.problems(text) == [
        "m.yaml:1:37: auth must be one of query, header, bearer; got basic",
        "m.yaml:1:45: provider must be one of anyfast, google, openai, simulator, simulator-openai; did you mean google? others are packages to install, or base_url with one of these formats; got gogle",
        f"m.yaml:2:34: aspect_ratio must be one of {FIVE} for {FLASH} at anyfast; got 2:3",
    ]
