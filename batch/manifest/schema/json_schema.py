"""The manifest's shape as JSON Schema, for editors: they complete keys and words, and mark what is wrong.

It is made from the same definitions that read a manifest (`schema`, `fields`), so the two cannot say different
things. What pydantic cannot see, our own checks of single values, is translated here, check by check; and here
stand the sentences an editor shows. A key without either still works: the editor then knows only its name.

The schema keeps to what draft-07 and draft 2020-12 have in common, because editors stand on either side.
It is looser than the runner: what depends on several fields or on a table (`plan` tells) is left open.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from batch.core.image_models import (
    ASPECT_RATIOS,
    IMAGE_SIZES,
    MODALITIES,
    MODELS,
    SEARCH_KINDS,
    THINKING_LEVELS,
)
from batch.core.registry import SHIPPED
from batch.manifest.schema import asked, fields
from batch.manifest.schema.schema import JobShape, ManifestShape, ProviderShape

_Schema: TypeAlias = dict[str, Any]

#: Draft-07 is what editors document. `$defs` is a plain folder to it; references lead there all the same.
_DRAFT: Final = "http://json-schema.org/draft-07/schema#"

#: A text to be filled from a row may become anything.
_TEMPLATE: Final = {"type": "string", "pattern": r"\{[{%#]"}
_FILLED: Final = {"type": "string", "pattern": r"\S"}
_ONE_LINE: Final = {"type": "string", "pattern": r"^[^\n\t]*[^\n\t\s][^\n\t]*$"}

#: Names are completed, others pass: an endpoint may serve models that are new.
_MODEL: Final = {"anyOf": [{"enum": list(MODELS)}, _ONE_LINE]}
_NOTHING: Final = {"type": "null"}
#: A size in pixels.
_PIXELS: Final = "^[1-9][0-9]{1,4}x[1-9][0-9]{1,4}$"
#: The API's words and ours, which leave out what they all begin with; `safety` takes them in any case.
_CATEGORIES: Final = [name for word in asked.HARM_CATEGORIES for name in (word, f"harm_category_{word}".upper())]
_THRESHOLDS: Final = [name for word in asked.HARM_THRESHOLDS for name in (word, word.upper())]


def _words_or_nothing(words: Sequence[str]) -> _Schema:
    return {"anyOf": [{"enum": list(words)}, _TEMPLATE, _NOTHING]}


#: What each named check of `fields` accepts, in the words of JSON Schema.
_CHECKS: Final[Mapping[str, _Schema]] = {
    "provider_name": {"enum": list(SHIPPED)},
    "any_text": {"type": "string"},
    "yes_or_no": {"type": "boolean"},
    "mapping": {"type": "object"},
    "filled": _FILLED,
    "one_line": _ONE_LINE,
    "model_name": _MODEL,
    "job_id": {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]*$|\{[{%#]"},
    "run_name": {"type": "string", "pattern": r'^[^.~ /\\:*?"<>|-][^/\\:*?"<>|]*$'},
    "image_size": {"anyOf": [{"enum": [*IMAGE_SIZES, 512, "auto"]}, {"type": "string", "pattern": _PIXELS}, _TEMPLATE]},
    "aspect_ratio": {"anyOf": [{"enum": [*ASPECT_RATIOS, None]}, _TEMPLATE]},
    "modalities": {
        "type": "array",
        "items": {"enum": sorted({word for words in MODALITIES for word in words})},
        "contains": {"const": "IMAGE"},
        "maxItems": 2,
        "uniqueItems": True,
    },
    "system": {"anyOf": [_FILLED, _NOTHING]},
    "thinking": {"anyOf": [{"enum": list(THINKING_LEVELS)}, _TEMPLATE, _NOTHING]},
    "seed": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 2_147_483_647}, _TEMPLATE, _NOTHING]},
    "temperature": {"anyOf": [{"type": "number", "minimum": 0, "maximum": 2}, _TEMPLATE, _NOTHING]},
    "top_p": {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, _TEMPLATE, _NOTHING]},
    "safety": {
        "anyOf": [
            {
                "type": "object",
                "propertyNames": {"enum": _CATEGORIES},
                "additionalProperties": {"anyOf": [{"enum": _THRESHOLDS}, _TEMPLATE]},
            },
            _TEMPLATE,
            _NOTHING,
        ]
    },
    "search": {
        "anyOf": [
            {"enum": list(SEARCH_KINDS)},
            {"type": "array", "items": {"enum": list(SEARCH_KINDS)}, "minItems": 1},
            _TEMPLATE,
            _NOTHING,
        ]
    },
    "extra": {"anyOf": [{"type": "object", "minProperties": 1}, _TEMPLATE, _NOTHING]},
    "quality": _words_or_nothing(asked.QUALITIES),
    "background": _words_or_nothing(asked.BACKGROUNDS),
    "output_format": _words_or_nothing(asked.OUTPUT_FORMATS),
    "output_compression": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 100}, _TEMPLATE, _NOTHING]},
    "moderation": _words_or_nothing(asked.MODERATIONS),
    "input_fidelity": _words_or_nothing(asked.FIDELITIES),
    "reference_name": {
        "type": "string",
        "pattern": r"^(?!(?!https://)[A-Za-z][A-Za-z0-9+.-]*://|data:)[\s\S]*\S",
    },
    "separator": {"type": "string", "pattern": r"^(?![A-Za-z0-9]+$)", "minLength": 1, "maxLength": 10},
    "host_name": {"type": "string", "pattern": r"^(\*\.)?([A-Za-z0-9-]+\.)+[A-Za-z][A-Za-z0-9-]*$"},
    "endpoint_name": {"type": "string", "pattern": f"^{fields.ENDPOINT_NAME}$"},
    "base_url": {"type": "string", "pattern": r"^https?://[^\s\\?#@]+$"},
    "key_env": {"type": "string", "pattern": r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"},
    "proxy": {"anyOf": [{"enum": ["none"]}, {"type": "string", "pattern": r"^(https?://)?[^\s\\?#@/]+/?$"}]},
    "encoding": {"anyOf": [{"enum": list(fields.ENCODINGS)}, {"type": "string", "pattern": r"^[\w.: -]+$"}]},
    "day_start": {"type": "string", "pattern": r"^([01][0-9]|2[0-3]):[0-5][0-9] [A-Za-z][A-Za-z0-9_+/-]{0,63}$"},
    "delimiter": {
        "anyOf": [
            {"enum": ["tab", "comma", "semicolon", "pipe"]},
            {"type": "string", "pattern": r'^[^"\n\rA-Za-z0-9]$'},
        ]
    },
    "sort_order": {
        "anyOf": [
            {"enum": ["asc", "desc"]},
            {"type": "array", "items": _FILLED, "minItems": 1, "uniqueItems": True},
        ]
    },
    "kept_columns": {
        "anyOf": [
            {"enum": ["all"]},
            _ONE_LINE,
            {"type": "array", "items": _FILLED, "minItems": 1, "uniqueItems": True},
        ]
    },
    "tag_budgets": {
        "type": "object",
        "additionalProperties": {"type": "number", "minimum": 0, "maximum": fields.HIGHEST_BUDGET_USD},
    },
    "prices": {
        "type": "object",
        "properties": {size: {"type": "number", "minimum": 0, "maximum": 100} for size in (*IMAGE_SIZES, "auto")},
        "patternProperties": {_PIXELS: {"type": "number", "minimum": 0, "maximum": 100}},
        "additionalProperties": False,
    },
}

#: A word, a mapping, or a list of these. The reader takes them one by one, so pydantic says nothing about them.
_PROVIDER: Final = {"anyOf": [{"enum": list(SHIPPED)}, {"$ref": "#/$defs/ProviderShape"}]}
_PROVIDERS: Final = {"type": "array", "items": _PROVIDER, "minItems": 1, "maxItems": fields.MOST_PROVIDERS}

#: Lists under names of the user's own; two names are taken.
_MATRIX: Final = {
    "type": "object",
    "properties": {
        "include": {"type": "array", "items": {"type": "object"}},
        "exclude": {"type": "array", "items": {"type": "object"}},
    },
    "additionalProperties": {"type": "array", "minItems": 1},
}

#: Keys of which more can be said than their check does.
_KEYS: Final[Mapping[str, _Schema]] = {
    "model": _MODEL,
    "matrix": _MATRIX,
    "provider": {"anyOf": [*_PROVIDER["anyOf"], _PROVIDERS]},
}

#: What an editor shows beside a key. A shape is named as in `schema`, without "Shape".
DESCRIPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "Manifest": {
        "name": "Names the output folder, output/<name>. Default: the file's name without .yaml.",
        "output": "Folder for the results, relative to this file. Default: output/<name> under the current folder.",
        "provider": "Who makes the pictures: anyfast, google, or simulator (no key, nothing is paid). "
        "A mapping names another endpoint of the same kind; a list shares the jobs among several. Default: simulator.",
        "model": "The model for all jobs. Another name than those offered is sent too, and not checked.",
        "lane": "flex: cheaper and slower, where a provider has such a lane; standard: at once. Default: standard.",
        "fallback": "A model, or several, to ask where a job's own is overloaded. A mapping says on what else.",
        "limits": "How much at once and how fast.",
        "timeouts": "Seconds an attempt may take. A request cut off may have been paid, so these are long.",
        "retry": "What is tried again, and how often.",
        "prices": "US dollars per picture by size, such as {1K: 0.067}; overrides the list price in estimates.",
        "price_table": "A JSON or YAML file with prices of your endpoint, relative to this file; its models take the "
        "place of those we know.",
        "models": "What models can be asked for and what they cost, by name: changes what is known of a model, or "
        "describes a new one (docs/models.md).",
        "model_table": "A JSON or YAML file with the same, relative to this file; models in the manifest count more.",
        "budget": "The most that may be spent, in US dollars. What does not fit any more is not sent.",
        "tag": "Names what the pictures are for, such as a campaign; budget.tags caps it over all runs that name it.",
        "verify": "How closely an answer's pictures are looked at. structure: whole by their structure; "
        "decode: every pixel is read, slower.",
        "check_content": "Whether a picture that is blank, a reference that came back, or another job's picture gets a "
        "warning. Default: true.",
        "dedupe": "true: jobs that ask for exactly the same picture share one, bought once. Default: false.",
        "gallery": "Whether pages to look at the pictures are made when the run ends. Default: on a terminal.",
        "canary": "Number of jobs to send first, alone; the rest only if few of them failed. A mapping says how few.",
        "on_reject": "The prompt that is asked for in place of a rejected picture: a template over {{ prompt }}, "
        "{{ note }} and the list reasons. Default: the prompt as it was.",
        "check": "A program that judges each new picture, and its arguments. A mapping also says how long it may take.",
        "until": "How far rejected pictures are made again by themselves. Default: only by run --rejected.",
        "defaults": "Parameters for every job that does not say otherwise.",
        "rows": "A table whose rows fill the jobs; its columns stand in {{ Column }}.",
        "unique": "A column: of the rows with one value in it only that is taken which has most of what the jobs use "
        "(exports have one row per variant).",
        "reference_root": "The folder references must lie in, for they are uploaded. Default: this file's folder.",
        "reference_hosts": "Hosts from which reference pictures may be fetched, such as cdn.example.com or "
        '"*.example.com". Default: none.',
        "jobs": "The pictures to buy. With rows, every entry is filled once per row.",
        "where": 'A condition on the columns, such as Vendor == "Acme"; rows for which it is not true are left out.',
        "sort": "The order in which rows are taken: a column, a mapping for numbers, words or the other way round, "
        "or a list of these: rows that are equal in the first are ordered by the next.",
        "limit": "Rows taken at most, after where, unique and sort.",
        "carry": "Columns that a shop fills in the first row of a product only, such as [Title, Vendor]: their empty "
        "cells are taken from the product's other rows. A mapping also names the column that its rows share.",
        "group": "A column: all rows that follow each other with one value in it make one job.",
        "keep": "Columns whose cells are written into manifest.jsonl beside each job, such as [SKU, Vendor], or all. "
        "They change no picture. Default: none.",
        "names": "What pictures are called, with folders: {{ Vendor | slug }}/{{ id }}. Default: the job's id. "
        "They change no picture.",
        "matrix": "Names with a list of values each; every job is made once per combination. "
        "{{ name }} stands for the value; include adds combinations, exclude takes some out.",
    },
    "Job": {
        "id": "Names the job and its picture: letters, digits, dot, _ and -. Left out, the prompt names the job.",
        "prompt": "What the picture shows, in any language; sent exactly as written.",
        "continue_from": "The id of another job: its picture is gone on with, so this job is sent after it.",
    },
    "Parameters": {
        "model": "The model to ask. Another name than those offered is sent too, and not checked.",
        "aspect_ratio": "Width to height. null leaves it to the model. AnyFast takes 1:1, 4:3, 3:4, 16:9 and 9:16.",
        "image_size": "Resolution: 512, 1K, 2K or 4K; for OpenAI's images API also pixels such as 1536x1024, or auto. "
        "The price follows it. Default: 1K.",
        "modalities": "[IMAGE], or [TEXT, IMAGE] for a caption as well. Default: [IMAGE].",
        "samples": "Number of pictures of the same prompt. Default: 1.",
        "system": "A system instruction: what holds for every picture, beside the prompt. null asks for none.",
        "thinking": "How much the model thinks: minimal, low, medium or high, as far as it takes them. Default: the "
        "model's own.",
        "seed": "A whole number; the same one makes similar pictures more likely.",
        "temperature": "How freely the model chooses, 0 to 2. Default: the model's own.",
        "top_p": "The share of likely choices that it chooses among, 0 to 1. Default: the model's own.",
        "safety": "Thresholds of the safety filters by category, such as {hate_speech: block_only_high}.",
        "search": "web, image, or [web, image]: what the model may look up before it draws. Each query is charged.",
        "extra": "Fields that are merged into the request as they stand, such as {generationConfig: {topK: 40}}.",
        "quality": "Of OpenAI's images API: low, medium, high, on some models xhigh and max, or auto. The price "
        "follows it.",
        "background": "Of OpenAI's images API: transparent, opaque or auto.",
        "output_format": "Of OpenAI's images API: png, jpeg or webp. Default: png.",
        "output_compression": "Of OpenAI's images API: 0 to 100, for jpeg and webp. Default: 100.",
        "moderation": "Of OpenAI's images API: low or auto, for jobs without references.",
        "input_fidelity": "Of OpenAI's images API: low or high, how closely references are kept to.",
        "references": "Pictures sent along, for editing or as examples: files relative to this one, names with "
        "wildcards, https:// addresses of hosts in reference_hosts, or a column that holds them.",
    },
    "Reference": {
        "path": "A file relative to the manifest, a name with wildcards such as photos/cup-*.jpg, or an https:// "
        "address of a host in reference_hosts.",
        "column": "A column whose cells name the pictures: files or addresses, without wildcards.",
        "split": "What stands between several names in one cell, such as a comma. Default: a cell is one name.",
        "most": "The most pictures to take, the first ones. Default: all.",
        "optional": "A picture that is not there is left out instead of being a problem. Default: false.",
    },
    "Provider": {
        "profile": "The provider profile: which API the endpoint speaks.",
        "name": "What messages and the ledger call it; unique. Default: the profile's name.",
        "weight": "Of several providers, one with weight 3 gets three times the jobs of one with 1. Default: 1.",
        "base_url": "Where requests go: https only, except to this machine. Default: the profile's own address.",
        "auth": "How the key travels: in the address, in a header of its own, or as a bearer token. "
        "Default: the profile's own way.",
        "key_env": "The NAME of the environment variable that holds the key; never the key itself.",
        "key_file": "A file that holds the key and nothing else; read if the variable of key_env is not set.",
        "proxy": "The proxy for requests to it, such as http://proxy.example.com:3128, or none. Default: as "
        "HTTPS_PROXY and NO_PROXY say.",
        "proxy_login_env": "The NAME of the environment variable that holds the proxy's user:password.",
        "proxy_login_file": "A file that holds the proxy's user:password.",
        "limits": "Limits of this provider alone; what is not given here is as in the manifest's limits.",
        "prices": "US dollars per picture by size at this provider. Default: the manifest's prices.",
        "simulator": "Options of the built-in simulator, such as faults and latency_seconds "
        "(imagebatch simulate --help).",
    },
    "Fallback": {
        "models": "The models to ask instead, in this order. Every job must fit them.",
        "on": "overload: the job's own model cannot be served; safety: it was blocked by policy, which is charged all "
        "the same. Default: overload.",
    },
    "Limits": {
        "concurrency": "Requests in flight at most.",
        "requests_per_second": "Attempts per second, sent evenly. Default: as requests_per_minute says.",
        "burst": "Attempts that may leave at once, before the others follow evenly. Default: 1 with "
        "requests_per_second, 4 with requests_per_minute alone.",
        "requests_per_minute": "Attempts in any 60 seconds, evenly spaced. Default: no limit of our own.",
        "tokens_per_minute": "Tokens in any 60 seconds, estimated before and counted after. Default: no limit.",
        "images_per_minute": "Pictures asked for in any 60 seconds. Default: no limit.",
        "requests_per_day": "Attempts a day; then the run stops until the next. Default: no limit.",
        "images_per_day": "Pictures asked for in a day; then the run stops until the next. Default: no limit.",
        "day_resets_at": "When the provider's day begins: a time and a time zone. Default: 00:00 America/Los_Angeles.",
        "adaptive": "true: what the provider allows is found by trying, below these limits. false: these are sent at "
        "from the start. Default: true.",
    },
    "Timeouts": {
        "connect_seconds": "Until the connection stands. Default: 15.",
        "write_seconds": "Until the request is sent. Default: 60.",
        "read_seconds": "Between two parts of the answer. Default: 300.",
        "total_seconds": "For the whole attempt. Default: 600.",
    },
    "Retry": {
        "unknown": "A request without an answer may be paid. resend: send it once more; hold: leave it to you. "
        "Default: resend.",
        "unavailable_attempts": "Tries in all while the provider cannot serve. Default: 3.",
        "unusable_retries": "More tries after a paid answer without a usable picture. Default: 2.",
        "set_aside_after": "After so many runs in a row that a job ended in the same way it is not sent by itself any "
        "more. Default: 5.",
        "wasted_in_a_row": "The run ends when so many of its first jobs in a row, or twice as many later, were charged "
        "and got no usable picture. 0: never. Default: 5.",
        "max_outage_minutes": "Minutes without a served request before the run ends, for a later one. Default: 30.",
    },
    "Budget": {
        "per_run": "Dollars one run may spend.",
        "per_day": "Dollars all runs with the same key on this machine may spend in a day (UTC).",
        "per_month": "The same for a calendar month (UTC).",
        "tags": "Dollars all runs with a tag may spend, ever, such as {spring: 50}.",
    },
    "Canary": {
        "jobs": "How many are sent first.",
        "max_failed": "The run goes on if at most this share of them, 0 to 1, got no picture. Default: 0.2.",
    },
    "Check": {
        "run": "The program and its arguments. It gets a JSON object on standard input, and prints one with a verdict.",
        "timeout_seconds": "How long it may take for one picture. Default: 60.",
        "at_once": "How many pictures are judged at once. Default: 2.",
        "ask": "A vision model to ask in place of a program.",
    },
    "Ask": {
        "provider": "Whose API it is: openai (chat completions) or google (generateContent), or one of that kind.",
        "base_url": "The API's address, if it is not the provider's own.",
        "key_env": "The environment variable with the key. Default: the provider's.",
        "model": "The model that looks at the pictures.",
        "prompt": "What it is asked of each picture: a template over {{ prompt }} and {{ id }}.",
        "usd_per_request": "What one question costs at most, in US dollars. A budget needs it.",
        "requests_per_minute": "Questions a minute at most. Default: as the provider of the same key, or no limit.",
    },
    "Until": {
        "attempts": "Pictures of a job at most, since it was last edited, the first one too. Default: 3.",
        "max_cost": "US dollars that a job may cost in all. Default: no cap.",
        "accepted": "Of the samples of one entry, how many accepted ones are enough. Default: all of them.",
    },
    "Rows": {
        "file": "The table, relative to this file; or several, or a name with wildcards such as data/*.csv. - reads "
        "standard input.",
        "encoding": "How its text is encoded. Default: utf-8.",
        "delimiter": "What separates its cells: one character such as ; or the word tab. Default: by the file's name.",
        "sheet": "The sheet of a workbook. Default: the first that is not hidden.",
        "format": "What kind of file it is. Default: by the file's name.",
        "header_row": "The row that names the columns, counted from 1 as a spreadsheet does. Default: the first.",
        "data_row": "The row of the first product. Default: the one below the header.",
    },
    "Carry": {
        "columns": "The columns to fill.",
        "within": "The column that is the same in all rows of a product. Default: the one of group, else the first "
        "of the id.",
    },
    "Sort": {
        "by": "The column to sort by.",
        "order": "asc: from small to large; desc: from large to small; or the column's words from first to last, "
        "such as [high, normal, low]. Default: asc.",
        "numeric": "Compare the cells as numbers (12.5, 1,299.00, 9,50 €), not as text. Default: false.",
    },
}


def manifest_json_schema(providers: Sequence[str] = tuple(SHIPPED)) -> _Schema:
    """The JSON Schema of a job manifest that may name these providers."""
    _, found = models_json_schema(
        [(shape, "validation") for shape in (ManifestShape, ProviderShape, JobShape)], schema_generator=_Generator
    )
    shapes: dict[str, _Schema] = {name.removesuffix("Shape"): shape for name, shape in found["$defs"].items()}
    for name, shape in shapes.items():
        dress(name, shape)
    top = shapes.pop("Manifest")
    # The reader takes the jobs one by one, so their list says nothing about them.
    top["properties"]["jobs"] |= {"items": {"$ref": "#/$defs/JobShape"}, "minItems": 1}
    whole: _Schema = {
        "$schema": _DRAFT,
        "title": "imagebatch job manifest",
        "description": "What pictures to make, and how. Explained in docs/manifest.md.",
        **top,
        "$defs": shapes,
    }
    return {key: _with_providers(_with_short_references(part), providers) for key, part in whole.items()}


def dress(name: str, shape: _Schema) -> None:
    """Replace what is said to maintainers by what is said to users."""
    shape.pop("title", None)
    shape.pop("description", None)
    words = DESCRIPTIONS.get(name, {})
    if name == "Reference":
        shape["oneOf"] = [{"required": ["path"]}, {"required": ["column"]}]
    if name == "Job":
        words = {**DESCRIPTIONS["Parameters"], **words}
    for key, value in shape.get("properties", {}).items():
        # An absent key is not the same as an empty one; only a plain default is worth inserting.
        if not isinstance(value.get("default"), str | int | float) or isinstance(value.get("default"), bool):
            value.pop("default", None)
        if key in _KEYS:
            for said_before in ("type", "pattern", "anyOf", "default"):
                value.pop(said_before, None)
            value |= copy.deepcopy(_KEYS[key])
        if key in words:
            shape["properties"][key] = {"description": words[key], **value}


def _with_providers(value: Any, names: Sequence[str]) -> Any:
    """Wherever our providers may be named, these may."""
    if isinstance(value, dict):
        if value.get("enum") == list(SHIPPED):
            return value | {"enum": list(names)}
        return {key: _with_providers(part, names) for key, part in value.items()}
    return [_with_providers(part, names) for part in value] if isinstance(value, list) else value


def _with_short_references(value: Any) -> Any:
    """`#/$defs/LimitsShape` is our name for it; the file says `#/$defs/Limits`."""
    if isinstance(value, dict):
        return {
            key: part.removesuffix("Shape") if key == "$ref" else _with_short_references(part)
            for key, part in value.items()
        }
    return [_with_short_references(part) for part in value] if isinstance(value, list) else value


class _Generator(GenerateJsonSchema):
    """Pydantic's own, which asks us about the checks it cannot look into."""

    # Keys in the order of the definitions: that is the order in which an editor offers them.
    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:  # noqa: ARG002
        return value

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        return copy.deepcopy(accepted_by(schema["function"]["function"]))

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        check = schema["function"]["function"]
        if _made_by(check) is fields.one_or_more:
            return _one_or_more(inner)
        choices: list[_Schema] = inner.get("anyOf", [inner])
        shape = next((choice["$ref"] for choice in choices if "$ref" in choice), None)
        if _made_by(check) is not fields.short_form or shape is None:
            return inner
        whole = self.get_schema_from_definitions(shape) or {}
        short = dict(whole.get("properties", {}).get(_captured(check)["key"], {"type": "string"}))
        short.pop("default", None)
        return {"anyOf": [copy.deepcopy(short), *choices]}


def _one_or_more(inner: _Schema) -> _Schema:
    """A list, or its only item without the brackets."""
    choices: list[_Schema] = inner.get("anyOf", [inner])
    wanted: list[_Schema] = []
    for choice in choices:
        if choice.get("type") == "array":
            items = choice.get("items", {})
            wanted += [*copy.deepcopy(items.get("anyOf", [items])), {**choice, "minItems": 1}]
        else:
            wanted.append(choice)
    return {"anyOf": wanted}


def accepted_by(check: Callable[..., Any]) -> _Schema:
    """What one of our checks accepts; an unknown check is taken to accept everything."""
    maker, captured = _made_by(check), _captured(check)
    if maker is fields.whole:
        return {"type": "integer", "minimum": captured["lowest"], "maximum": captured["highest"]}
    if maker is fields.number:
        return {"type": "number", "minimum": captured["lowest"], "maximum": captured["highest"]}
    if maker is fields.above_zero:
        return {"type": "number", "exclusiveMinimum": 0, "maximum": captured["highest"]}
    if maker is fields.word:
        return {"enum": list(captured["words"])}
    if maker is fields.optional:
        return {"anyOf": [accepted_by(captured["check"]), {"type": "null"}]}
    return _CHECKS.get(getattr(check, "__name__", ""), {})


def _made_by(check: Callable[..., Any]) -> Any:
    """The function of `fields` that returned this check, if one did: `whole(1, 9)` was made by `whole`."""
    maker, inside, _ = getattr(check, "__qualname__", "").partition(".<locals>.")
    return getattr(fields, maker, None) if inside else None


def _captured(check: Callable[..., Any]) -> Mapping[str, Any]:
    """The arguments its maker was called with."""
    return inspect.getclosurevars(check).nonlocals if inspect.isfunction(check) else {}
