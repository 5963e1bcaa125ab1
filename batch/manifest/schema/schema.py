"""The shape of a manifest: which keys there are and what each may hold, whatever the others say.

What a single field may hold is in `fields`; `_Note` adds the field's name and its place.
What depends on several fields (a ratio and its model) is in `entries`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError, model_validator
from pydantic_core import ErrorDetails
from yaml.nodes import MappingNode

from batch.core.errors import Problem
from batch.core.registry import SHIPPED, ProviderError, find_profile
from batch.core.settings import Limits
from batch.manifest.problems import Problems, did_you_mean, show
from batch.manifest.schema import asked, fields, model_fields
from batch.manifest.schema.yaml_text import Document

#: How many may leave at once says nothing while they may leave as they come.
BURST_NEEDS_A_RATE: Final = "burst needs a rate; write requests_per_second or requests_per_minute beside it"


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)


class LimitsShape(_Shape):
    """How much at once and how fast."""

    concurrency: Annotated[int, fields.whole(1, fields.MOST_CONCURRENCY)] = 8
    requests_per_second: Annotated[float | None, fields.optional(fields.above_zero(10_000).func)] = None
    burst: Annotated[int | None, fields.optional(fields.whole(1, 10_000).func)] = None
    requests_per_minute: Annotated[int | None, fields.optional(fields.whole(1, 1_000_000).func)] = None
    tokens_per_minute: Annotated[int | None, fields.optional(fields.whole(1, 1_000_000_000).func)] = None
    images_per_minute: Annotated[int | None, fields.optional(fields.whole(1, 1_000_000).func)] = None
    requests_per_day: Annotated[int | None, fields.optional(fields.whole(1, 1_000_000_000).func)] = None
    images_per_day: Annotated[int | None, fields.optional(fields.whole(1, 1_000_000_000).func)] = None
    day_resets_at: Annotated[str, PlainValidator(fields.day_start)] = "00:00 America/Los_Angeles"
    adaptive: Annotated[bool, PlainValidator(fields.yes_or_no)] = True


def limits_problems(limits: Limits) -> list[Problem]:
    """What is wrong with limits that come from elsewhere, as a manifest would be told."""
    try:
        LimitsShape.model_validate(asdict(limits))
    except ValidationError as error:
        return [Problem(message=f"{detail['loc'][0]} {detail['ctx']['text']}") for detail in error.errors()]
    if limits.burst is not None and limits.per_second is None:
        return [Problem(message=BURST_NEEDS_A_RATE)]
    return []


class ProviderShape(_Shape):
    """`provider: anyfast`, or a mapping for another endpoint of the same kind; or a list of them."""

    profile: Annotated[str, PlainValidator(fields.provider_name)]
    name: Annotated[str | None, PlainValidator(fields.endpoint_name)] = None
    weight: Annotated[float, fields.above_zero(fields.HEAVIEST_WEIGHT)] = 1.0
    base_url: Annotated[str | None, PlainValidator(fields.base_url)] = None
    auth: Annotated[str | None, fields.word("query", "header", "bearer")] = None
    key_env: Annotated[str | None, PlainValidator(fields.key_env)] = None
    key_file: Annotated[str | None, PlainValidator(fields.one_line)] = None
    proxy: Annotated[str | None, PlainValidator(fields.proxy)] = None
    proxy_login_env: Annotated[str | None, PlainValidator(fields.key_env)] = None
    proxy_login_file: Annotated[str | None, PlainValidator(fields.one_line)] = None
    limits: LimitsShape = LimitsShape()
    prices: Annotated[dict[str, float], PlainValidator(fields.prices)] = {}
    simulator: dict[str, Any] = {}


class FallbackShape(_Shape):
    """`fallback: gemini-3-pro-image`, a list of models, or a mapping that also says when they are asked."""

    models: Annotated[list[Annotated[str, PlainValidator(fields.model_name)]], fields.one_or_more("a model")]
    on: Annotated[
        list[Annotated[str, fields.word("overload", "safety")]], fields.one_or_more("overload, safety or both")
    ] = ["overload"]


class TimeoutsShape(_Shape):
    """Seconds an attempt may take; what is not given keeps the default of `settings.Timeouts`."""

    connect_seconds: Annotated[float | None, fields.number(0.1, fields.LONGEST_TIMEOUT_SECONDS)] = None
    write_seconds: Annotated[float | None, fields.number(0.1, fields.LONGEST_TIMEOUT_SECONDS)] = None
    read_seconds: Annotated[float | None, fields.number(0.1, fields.LONGEST_TIMEOUT_SECONDS)] = None
    total_seconds: Annotated[float | None, fields.number(0.1, fields.LONGEST_TIMEOUT_SECONDS)] = None


class RetryShape(_Shape):
    """The part of `settings.RetryPolicy` a user decides; the rest follows from what the provider answers."""

    unknown: Annotated[str | None, fields.word("resend", "hold")] = None
    unavailable_attempts: Annotated[int | None, fields.whole(1, 20)] = None
    unusable_retries: Annotated[int | None, fields.whole(0, 10)] = None
    set_aside_after: Annotated[int | None, fields.whole(1, 100)] = None
    wasted_in_a_row: Annotated[int | None, fields.whole(0, 1000)] = None
    max_outage_minutes: Annotated[float | None, fields.number(1, 1440)] = None


class CanaryShape(_Shape):
    """`canary: 5`, or a mapping that also says how many of them may fail."""

    jobs: Annotated[int, fields.whole(1, 100_000)]
    max_failed: Annotated[float, fields.number(0, 1)] = 0.2


class UntilShape(_Shape):
    """How far rejected pictures are made again by themselves."""

    accepted: Annotated[int | None, fields.whole(1, fields.MAX_SAMPLES)] = None
    attempts: Annotated[int, fields.whole(1, 100)] = 3
    max_cost: Annotated[float | None, fields.number(0, fields.HIGHEST_BUDGET_USD)] = None


class AskShape(_Shape):
    """A model that is asked about each picture, and where."""

    provider: Annotated[str, PlainValidator(fields.provider_name)]
    base_url: Annotated[str | None, PlainValidator(fields.base_url)] = None
    key_env: Annotated[str | None, PlainValidator(fields.key_env)] = None
    model: Annotated[str, PlainValidator(fields.one_line)]
    prompt: Annotated[str, PlainValidator(fields.filled)]
    usd_per_request: Annotated[float | None, fields.number(0, 100)] = None
    requests_per_minute: Annotated[int | None, fields.optional(fields.whole(1, 1_000_000).func)] = None


class CheckShape(_Shape):
    """`check: [python3, judge.py]`, or a mapping: a program or a model, and how long it may take."""

    run: Annotated[list[Annotated[str, PlainValidator(fields.one_line)]], fields.one_or_more("a program")] = []
    ask: AskShape | None = None
    timeout_seconds: Annotated[float, fields.number(1, 3600)] = 60.0
    at_once: Annotated[int, fields.whole(1, 64)] = 2


class BudgetShape(_Shape):
    """The most that may be spent, in US dollars."""

    per_run: Annotated[float | None, fields.number(0, fields.HIGHEST_BUDGET_USD)] = None
    per_day: Annotated[float | None, fields.number(0, fields.HIGHEST_BUDGET_USD)] = None
    per_month: Annotated[float | None, fields.number(0, fields.HIGHEST_BUDGET_USD)] = None
    tags: Annotated[dict[str, float], PlainValidator(fields.tag_budgets)] = {}


class RowsShape(_Shape):
    """The table whose rows make the jobs."""

    file: Annotated[list[Annotated[str, PlainValidator(fields.one_line)]], fields.one_or_more("a table")]
    format: Annotated[str | None, fields.word("csv", "tsv", "jsonl", "parquet", "xlsx")] = None
    encoding: Annotated[str, PlainValidator(fields.encoding)] = "utf-8-sig"
    delimiter: Annotated[str | None, PlainValidator(fields.delimiter)] = None
    header_row: Annotated[int | None, fields.whole(1, fields.LAST_HEADER_ROW)] = None
    sheet: Annotated[str | None, PlainValidator(fields.one_line)] = None
    data_row: Annotated[int | None, fields.whole(2, fields.LAST_HEADER_ROW)] = None


class CarryShape(_Shape):
    """`carry: [Title]`, or a mapping that also says which column is the same in all rows of a product."""

    columns: Annotated[list[Annotated[str, PlainValidator(fields.one_line)]], fields.one_or_more("a column")]
    within: Annotated[str | None, PlainValidator(fields.one_line)] = None


class SortShape(_Shape):
    """`sort: Column`, or a mapping to sort numbers, words or the other way round; or a list of them."""

    by: Annotated[str, PlainValidator(fields.one_line)]
    order: Annotated[str | tuple[str, ...], PlainValidator(fields.sort_order)] = "asc"
    numeric: Annotated[bool, PlainValidator(fields.yes_or_no)] = False


class ReferenceShape(_Shape):
    """One item of `references`: a text is the short form of `path`. Exactly one of `path` and `column` is given."""

    path: Annotated[str | None, PlainValidator(fields.reference_name)] = None
    column: Annotated[str | None, PlainValidator(fields.one_line)] = None
    split: Annotated[str | None, PlainValidator(fields.separator)] = None
    optional: Annotated[bool, PlainValidator(fields.yes_or_no)] = False
    most: Annotated[int | None, fields.whole(1, 100)] = None

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> ReferenceShape:
        fields.one_way_to_name_pictures(self.model_fields_set)
        return self


class ParametersShape(_Shape):
    """What a job and the defaults have in common. Whether a field was given matters (`model_fields_set`)."""

    model: Annotated[str | None, PlainValidator(fields.one_line)] = None
    aspect_ratio: Annotated[str | None, PlainValidator(fields.aspect_ratio)] = None
    image_size: Annotated[str | None, PlainValidator(fields.image_size)] = None
    modalities: Annotated[tuple[str, ...] | None, PlainValidator(fields.modalities)] = None
    samples: Annotated[int | None, fields.whole(1, fields.MAX_SAMPLES)] = None
    references: list[Annotated[ReferenceShape, fields.short_form("path")]] = []
    system: Annotated[Any, PlainValidator(asked.asked(asked.system))] = None
    thinking: Annotated[Any, PlainValidator(asked.asked(asked.thinking))] = None
    seed: Annotated[Any, PlainValidator(asked.asked(asked.seed))] = None
    temperature: Annotated[Any, PlainValidator(asked.asked(asked.temperature))] = None
    top_p: Annotated[Any, PlainValidator(asked.asked(asked.top_p))] = None
    safety: Annotated[Any, PlainValidator(asked.asked(asked.safety))] = None
    search: Annotated[Any, PlainValidator(asked.asked(asked.search))] = None
    extra: Annotated[Any, PlainValidator(asked.asked(asked.extra))] = None
    quality: Annotated[Any, PlainValidator(asked.asked(asked.quality))] = None
    background: Annotated[Any, PlainValidator(asked.asked(asked.background))] = None
    output_format: Annotated[Any, PlainValidator(asked.asked(asked.output_format))] = None
    output_compression: Annotated[Any, PlainValidator(asked.asked(asked.output_compression))] = None
    moderation: Annotated[Any, PlainValidator(asked.asked(asked.moderation))] = None
    input_fidelity: Annotated[Any, PlainValidator(asked.asked(asked.input_fidelity))] = None


class JobShape(ParametersShape):
    """One entry of `jobs`."""

    continue_from: Annotated[str | None, PlainValidator(fields.filled)] = None

    id: Annotated[str | None, PlainValidator(fields.job_id)] = None
    prompt: Annotated[str, PlainValidator(fields.filled)]


class ManifestShape(_Shape):
    """The whole file, but for the insides of `provider` and `jobs`, which are read one by one (`read_shapes`)."""

    name: Annotated[str | None, PlainValidator(fields.run_name)] = None
    output: Annotated[str | None, PlainValidator(fields.one_line)] = None
    provider: Annotated[list[Any], fields.one_or_more("at least one provider")] = ["simulator"]
    model: Annotated[str | None, PlainValidator(fields.one_line)] = None
    lane: Annotated[str, fields.word("standard", "flex")] = "standard"
    fallback: Annotated[FallbackShape | None, fields.short_form("models", (str, list))] = None
    limits: LimitsShape = LimitsShape()
    timeouts: TimeoutsShape = TimeoutsShape()
    retry: RetryShape = RetryShape()
    prices: Annotated[dict[str, float], PlainValidator(fields.prices)] = {}
    price_table: Annotated[str | None, PlainValidator(fields.one_line)] = None
    models: Annotated[dict[str, Any], PlainValidator(fields.mapping)] = {}
    model_table: Annotated[str | None, PlainValidator(fields.one_line)] = None
    budget: BudgetShape = BudgetShape()
    tag: Annotated[str | None, PlainValidator(fields.run_name)] = None
    verify: Annotated[str, fields.word("structure", "decode")] = "structure"
    check_content: Annotated[bool, PlainValidator(fields.yes_or_no)] = True
    dedupe: Annotated[bool, PlainValidator(fields.yes_or_no)] = False
    gallery: Annotated[bool, PlainValidator(fields.yes_or_no)] | None = None
    canary: Annotated[CanaryShape | None, fields.short_form("jobs", int)] = None
    on_reject: Annotated[str | None, PlainValidator(fields.filled)] = None
    check: Annotated[CheckShape | None, fields.short_form("run", (str, list))] = None
    until: UntilShape | None = None
    defaults: ParametersShape = ParametersShape()
    rows: Annotated[RowsShape | None, fields.short_form("file", (str, list))] = None
    where: Annotated[str | None, PlainValidator(fields.filled)] = None
    unique: Annotated[str | None, PlainValidator(fields.one_line)] = None
    sort: Annotated[list[Annotated[SortShape, fields.short_form("by")]] | None, fields.one_or_more("a column")] = None
    limit: Annotated[int | None, fields.whole(1, 1_000_000_000)] = None
    carry: Annotated[CarryShape | None, fields.short_form("columns", (str, list))] = None
    group: Annotated[str | None, PlainValidator(fields.one_line)] = None
    keep: Annotated[str | tuple[str, ...], PlainValidator(fields.kept_columns)] = ()
    names: Annotated[str | None, PlainValidator(fields.one_line)] = None
    matrix: Annotated[dict[str, Any] | None, PlainValidator(fields.mapping)] = None
    reference_root: Annotated[str | None, PlainValidator(fields.one_line)] = None
    reference_hosts: list[Annotated[str, PlainValidator(fields.host_name)]] = []
    jobs: Annotated[list[Any], fields.nothing_is([])]


#: Which shape stands where; list indices are left out.
SHAPES: Final[dict[tuple[str, ...], type[_Shape]]] = {
    (): ManifestShape,
    ("provider",): ProviderShape,
    ("provider", "limits"): LimitsShape,
    ("fallback",): FallbackShape,
    ("limits",): LimitsShape,
    ("timeouts",): TimeoutsShape,
    ("retry",): RetryShape,
    ("budget",): BudgetShape,
    ("canary",): CanaryShape,
    ("until",): UntilShape,
    ("check",): CheckShape,
    ("check", "ask"): AskShape,
    ("defaults",): ParametersShape,
    ("defaults", "references"): ReferenceShape,
    ("rows",): RowsShape,
    ("carry",): CarryShape,
    ("sort",): SortShape,
    ("jobs",): JobShape,
    ("jobs", "references"): ReferenceShape,
}


class ModelPricesShape(_Shape):
    """What a model costs, in a price table of one's own."""

    picture_usd: Annotated[dict[str, float], PlainValidator(fields.prices)]
    picture_tokens: Annotated[dict[str, int], PlainValidator(fields.whole_by_size)] = {}
    per_million_tokens_usd: Annotated[dict[str, float], PlainValidator(fields.token_prices)] = {}
    source: Annotated[str, PlainValidator(fields.any_text)] = ""


class PriceTableShape(_Shape):
    """The file that `price_table` names. The insides of `models` are read apart."""

    version: Annotated[int, PlainValidator(fields.table_version)]
    about: Annotated[str, PlainValidator(fields.any_text)] = ""
    charged_by: Annotated[str | None, fields.word("request", "tokens")] = None
    models: dict[str, Any]


class EndShape(_Shape):
    """`end: 2026-10-02`, or a mapping that also says what is announced, where, and when that was looked up."""

    date: Annotated[str, PlainValidator(model_fields.day)]
    says: Annotated[str, PlainValidator(fields.any_text)] = ""
    source: Annotated[str, PlainValidator(fields.any_text)] = ""
    checked: Annotated[str, PlainValidator(model_fields.day)] = ""
    providers: list[Annotated[str, PlainValidator(fields.one_line)]] = []


class ModelShape(_Shape):
    """What a model can be asked for and what it costs; what is not given stays as it is known, if it is."""

    title: Annotated[str, PlainValidator(fields.any_text)] = ""
    image_sizes: Annotated[list[str] | None, PlainValidator(model_fields.sizes)] = None
    aspect_ratios: Annotated[list[str] | None, PlainValidator(model_fields.ratios)] = None
    max_references: Annotated[int | None, fields.optional(fields.whole(0, 1000).func)] = None
    modalities: Annotated[list[str] | None, PlainValidator(model_fields.modalities)] = None
    thinking: Annotated[list[str] | None, PlainValidator(model_fields.thinking)] = None
    search: Annotated[list[str] | None, PlainValidator(model_fields.search)] = None
    search_usd: Annotated[float | None, fields.optional(fields.number(0, fields.HIGHEST_PRICE_USD).func)] = None
    picture_usd: Annotated[dict[str, float], PlainValidator(model_fields.prices)] = {}
    picture_tokens: Annotated[dict[str, int], PlainValidator(model_fields.tokens)] = {}
    per_million_tokens_usd: Annotated[dict[str, float], PlainValidator(fields.token_prices)] = {}
    lanes: Annotated[dict[str, float], PlainValidator(model_fields.lanes)] = {}
    end: Annotated[EndShape | None, fields.short_form("date")] = None
    source: Annotated[str, PlainValidator(fields.any_text)] = ""


class ModelTableShape(_Shape):
    """The file that `model_table` names; `batch/core/data/models.json` is one. The insides of `models` are read
    apart."""

    version: Annotated[int, PlainValidator(fields.table_version)]
    about: Annotated[str, PlainValidator(fields.any_text)] = ""
    models: dict[str, Any]
    retired: Annotated[dict[str, Any], PlainValidator(fields.mapping)] = {}


#: The same for a price table; a star stands for a model's name.
_TABLE_SHAPES: Final[dict[tuple[str, ...], type[_Shape]]] = {
    (): PriceTableShape,
    ("models", "*"): ModelPricesShape,
}


def read_price_table(
    document: Document, file: str, problems: Problems
) -> tuple[PriceTableShape | None, dict[str, ModelPricesShape | None]]:
    """A price table as far as its shape is right; what is wrong is noted, as in `read_shapes`."""
    note = _Note(document, file, problems, "the price table", _TABLE_SHAPES)
    shape = _read_shape(PriceTableShape, document.value, (), {"version": 1, "models": {}}, note)
    if shape is None:
        return None, {}
    models = {
        name: _read_shape(ModelPricesShape, model, ("models", name), {"picture_usd": {}}, note)
        for name, model in shape.models.items()
    }
    return shape, models


_MODEL_SHAPES: Final[dict[tuple[str, ...], type[_Shape]]] = {
    (): ModelTableShape,
    ("models", "*"): ModelShape,
}


def read_models(
    document: Document, file: str, problems: Problems, *, is_table: bool
) -> dict[str, tuple[ModelShape, set[str]]]:
    """The models of a manifest's `models`, or of a table of its own, each with the keys that it gives rightly."""
    shapes = _MODEL_SHAPES if is_table else SHAPES | {("models", "*"): ModelShape}
    note = _Note(document, file, problems, "the table of models" if is_table else "the manifest", shapes)
    models = document.value.get("models") if isinstance(document.value, dict) else None
    if is_table:
        table = _read_shape(ModelTableShape, document.value, (), {"version": 1, "models": {}}, note)
        models = {} if table is None else table.models
    found = {}
    for name, model in (models if isinstance(models, dict) else {}).items():
        shape = _read_shape(ModelShape, model, ("models", name), {}, note)
        if shape is not None:
            found[str(name)] = shape, set(shape.model_fields_set)
    return found


@dataclass(frozen=True, slots=True)
class Shapes:
    """A manifest, its providers and its jobs as far as their shape is right.

    None stands for a job that is no mapping, and for a provider of which not even the profile is known.
    """

    manifest: ManifestShape
    providers: list[ProviderShape | None]
    jobs: list[JobShape | None]


def read_shapes(document: Document, file: str, problems: Problems) -> Shapes:
    """The shapes of a document.

    A field with the wrong shape is noted and left out, so that the checks after this one see the rest and
    everything wrong is told at once.
    """
    note = _Note(document, file, problems)
    shape = _read_shape(ManifestShape, document.value, (), {"jobs": []}, note)
    if shape is None:
        problems.raise_if_any()
        raise AssertionError("a manifest that is no mapping was noted as a problem")
    return Shapes(
        manifest=shape,
        providers=[_read_provider(given, index, note) for index, given in enumerate(shape.provider)],
        jobs=[
            _read_shape(JobShape, job, ("jobs", index), {"prompt": "-"}, note) for index, job in enumerate(shape.jobs)
        ],
    )


def _read_provider(given: object, index: int, note: _Note) -> ProviderShape | None:
    data = {"profile": given} if isinstance(given, str) else given
    shape = _read_shape(ProviderShape, data, ("provider", index), {"profile": next(iter(SHIPPED))}, note)
    return shape if isinstance(data, dict) and _is_provider(data.get("profile")) else None


def _is_provider(name: object) -> bool:
    try:
        return isinstance(name, str) and bool(find_profile(name))
    except ProviderError:
        return False


S = TypeVar("S", bound=_Shape)
Path = tuple[str | int, ...]


def _read_shape(kind: type[S], data: object, above: Path, required: dict[str, Any], note: _Note) -> S | None:
    """`data` as a shape, without its wrong fields; `required` stands in for those that must be there."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        note.all_of(error, above)
        if not isinstance(data, dict):
            return None
        wrong = {detail["loc"][0] for detail in error.errors()}
        return kind.model_validate(required | {key: value for key, value in data.items() if key not in wrong})


#: What may stand where there is more than one way to write it.
_WANTED: Final[Mapping[Path, str]] = {
    ("provider",): "a word such as anyfast, a mapping, or a list of these",
    ("fallback",): "a model, a list of models, or a mapping",
    ("rows",): "a file, a list of files, or a mapping",
    ("check",): "a program, a list of it and its arguments, or a mapping",
    ("carry",): "a column, a list of columns, or a mapping",
}


#: What a number alone was probably meant for.
_MEANT: Final[Mapping[Path, str]] = {("budget",): "per_run", ("limits",): "concurrency", ("canary",): "jobs"}


class _Note:
    """Writes down pydantic's findings as our sentences, each with its place."""

    def __init__(
        self,
        document: Document,
        file: str,
        problems: Problems,
        whole: str = "the manifest",
        shapes: Mapping[tuple[str, ...], type[_Shape]] = SHAPES,
    ) -> None:
        self._document = document
        self._whole = whole
        self._shapes = shapes
        self._file = file
        self._problems = problems
        # The reader of YAML may have said more precisely what is wrong with a value.
        self._said_before = problems.places()

    def all_of(self, error: ValidationError, above: Path) -> None:
        """Everything wrong below `above`."""
        details = error.errors(include_url=False)
        unknowns = [above + detail["loc"] for detail in details if detail["type"] == "extra_forbidden"]
        for detail in details:
            path = above + detail["loc"]
            meant = f"did you mean {path[-1]}?" if path else ""
            if detail["type"] == "missing" and any(self._hint(each) == meant for each in unknowns):
                continue  # it is there, misspelt, and that is said
            unknown = detail["type"] == "extra_forbidden"
            at = self._document.key_at(*path) if unknown else self._document.at(*path)
            if at not in self._said_before or detail["type"] == "missing":
                message, job = self._sentence(detail, path), job_named(self._document, path)
                self._problems.add(Problem(message=message, file=self._file, line=at.line, column=at.column, job=job))

    def _sentence(self, detail: ErrorDetails, path: Path) -> str:
        names = [part for part in path if isinstance(part, str)]
        field = self._field(names, path)
        kind = detail["type"]
        if kind == "missing":
            return _missing(field)
        if kind == "extra_forbidden":
            return f'unknown field "{show(field)}"; {self._hint(path)}'
        if kind == "sentence":
            return f"{field} {detail['ctx']['text']}"
        if kind == "model_type" and names[-1:] in (["references"], ["provider"]) and isinstance(path[-1], int):
            one = names[-1].removesuffix("s")
            return f"every {one} must be a text or a mapping; got {fields.said(detail['input'])}"
        given = fields.said(detail["input"])
        if field == "every job" and isinstance(detail["input"], str):
            return f"every job must be a mapping (key: value); write - prompt: {given}"
        if path == ("jobs",):
            return f'jobs must be a list; begin every job with "- "; got {given}'
        if path in _MEANT and isinstance(detail["input"], int | float):
            return f"{field} must be a mapping, such as {{{_MEANT[path]}: {given}}}; got {given}"
        wanted = _WANTED.get(path) or ("a list" if kind == "list_type" else "a mapping (key: value)")
        return f"{field} must be {wanted}; got {given}"

    def _field(self, names: list[str], path: Path) -> str:
        """The field's name as the user knows it: `provider: x` has no `profile`, a list's item no name."""
        if not names:
            return self._whole
        if isinstance(path[-1], int) and names[-1] == "jobs":
            return "every job"
        return names[-2] if len(names) > 1 and self._is_short(path) else names[-1]

    def _is_short(self, path: Path) -> bool:
        """Whether what is written stands for a mapping whose key the path names last."""
        while isinstance(path[-1], int):
            path = path[:-1]
        node = self._document.node(*path)
        return not isinstance(node, MappingNode) and node is self._document.node(*path[:-1])

    def _hint(self, path: Path) -> str:
        """What a field that is not known may be meant for."""
        names = [part for part in path if isinstance(part, str)]
        above = tuple(names[:-1])
        shape = self._shapes.get(above) or self._shapes.get((*above[:1], "*")) or self._shapes[()]
        return did_you_mean(names[-1], shape.model_fields, "fields")


def job_named(document: Document, path: tuple[str | int, ...]) -> str | None:
    """The id of the job a path lies in, if it has one; a template is not one yet."""
    if len(path) < 2 or path[0] != "jobs":
        return None
    try:
        job_id = document.value["jobs"][path[1]]["id"]
    except (KeyError, IndexError, TypeError):
        return None
    if not isinstance(job_id, str) or not job_id.strip() or "{" in job_id:
        return None
    return show(job_id)


def _missing(field: str) -> str:
    if field == "jobs":
        return "no jobs; write jobs: and at least one entry with a prompt"
    if field == "profile":
        return f"profile is missing; write one of {', '.join(SHIPPED)}"
    return f"{field} is missing; add it"
