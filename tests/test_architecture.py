"""Which module may know which. Reads the imports; a failure says why the arrow is not wanted."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "batch"

#: What a room of the package may import, and why no more. Of a room that is not wholly open, modules are named.
ARROWS: dict[str, tuple[tuple[str, ...], str]] = {
    "core": ((), "core holds facts that all rooms share; it must not know who uses them"),
    "pictures": (("core",), "a picture looks the same whoever asks: no manifest, provider or ledger is known here"),
    "manifest": (
        ("core", "pictures"),
        "the manifest's reading knows no HTTP and no ledger: it can be checked without either",
    ),
    "starter": (
        ("core", "manifest"),
        "a first manifest needs no run: it is written from what the manifest's reading knows",
    ),
    "providers": (
        ("core", "pictures"),
        "a provider speaks HTTP and judges answers; what is done about them is not its business",
    ),
    "store": (
        ("core", "pictures.png", "providers.base"),
        "the store keeps what a provider returned; it may know the contract, not one provider, nor who sends or shows",
    ),
    "money": (
        ("core", "store.check_book", "store.durable", "store.ledger_reader", "store.records"),
        "money is reserved before a request goes out, whoever sends it; the ledger corrects its books",
    ),
    "limits": (
        ("core",),
        "what a provider allows is the same for whatever is sent there; no job's route is known here",
    ),
    "plan": (("core", "store.history", "store.job_state"), "a plan is pure: jobs and their history in, decisions out"),
    "dispatch": (
        ("core", "limits", "plan"),
        "the scheduler is given `buy`; it can be tested without network and disk",
    ),
    "report": (
        (
            "core",
            "plan",
            "store.check_book",
            "store.history",
            "store.job_state",
            "store.ledger_reader",
            "store.live_status",
            "store.lost_files",
            "store.records",
            "store.rehearsal",
            "store.rejected_pictures",
        ),
        "reports read what happened; they make nothing happen",
    ),
    "album": (
        (
            "core",
            "report.advice",
            *(f"store.{name}" for name in ("contracts", "decisions", "history", "job_state", "ledger")),
            *(f"store.{name}" for name in ("ledger_reader", "listing", "places", "records", "rehearsal")),
        ),
        "an album reads what an output holds; it needs no manifest and no key, and writes nothing",
    ),
    "export": (
        (
            "core",
            "pictures",
            "manifest",
            "album",
            *(f"store.{name}" for name in ("durable", "job_state", "picture_check", "places")),
        ),
        "an export reads an output and its manifest; it sends nothing, needs no key, and changes no original",
    ),
    "analysis": (
        ("core", "album", "report", "store.durable", "store.job_state", "store.ledger_reader", "store.records"),
        "figures are gathered from the album and the ledger; nothing is sent and no manifest is read",
    ),
    "review": (
        ("core", "album", "store.decisions", "store.live_status"),
        "a review looks and writes decisions; runs obey them, and it starts none",
    ),
    "gallery": (
        ("core", "pictures", "album", "report.advice", "providers.references.cache"),
        "pages show an album, and references where their files are kept; nothing is planned, sent or decided there",
    ),
    "runner": (
        (
            "core",
            "manifest",
            "providers",
            "store",
            "money",
            "limits",
            "plan",
            "dispatch",
            "report",
            "album",
            "simulator",
        ),
        "the runner joins the stages; nothing but the command line stands above it",
    ),
    "simulator": ((), "the simulator judges the rest, so it shares no code with it; they meet over HTTP"),
    "cli": (
        (
            "core",
            "starter",
            "runner",
            "plan",
            "report",
            "simulator",
            "store.history",
            "manifest.schema.json_schema",
            "analysis",
            "album",
            "review",
            "gallery",
            "export",
        ),
        "the command line parses, calls the runner and prints",
    ),
    "__init__": (("core", "runner", "plan", "ctrl_c"), "the front door names what callers use"),
    "ctrl_c": ((), "it is loaded before everything else"),
    "__main__": (("cli",), "`python -m batch` is the command"),
}

#: Inside the runner: who may know which, since some of it must not send, and some must not read keys.
INSIDE: dict[str, tuple[tuple[str, ...], str]] = {
    "runner.delivery": (
        ("core", "providers.base", "store.picture_check", "store.durable"),
        "pictures are fetched by any provider that keeps the contract; what is a picture is the store's to say",
    ),
    "runner.attempt": (
        ("core", "money", "runner.delivery", "providers.base", "store.store"),
        "an attempt works with any provider that keeps the contract, and knows nothing of when it is made",
    ),
    "runner.adoption": (
        ("core", "plan", "store"),
        "giving a job a picture bought before needs no provider and no schedule",
    ),
    "runner.reread": (
        ("core", "runner.delivery", "providers.base", "store"),
        "kept answers are read by a provider that is given, which needs no key; nothing is planned or sent for it",
    ),
    "runner.leftovers": (
        ("core", "runner.attempt", "providers.base", "store.store"),
        "what an earlier run left open is settled from what arrived; nothing is planned or sent for it",
    ),
    "runner.resolve": (
        ("core", "store"),
        "a person's decision is a line of the ledger; nothing is planned or sent for it",
    ),
    "runner.named_pictures": (("core", "album"), "pictures are named by what an album has; nothing is written here"),
    "runner.reviewing": (
        ("core", "album", "runner.named_pictures", "store.decisions", "store.ledger_reader"),
        "a verdict is a line beside the ledger; nothing is planned or sent for it, and no run is stopped",
    ),
    "runner.checks": (
        ("core", "store"),
        "a judge sees pictures that are recorded; it knows no provider, no key and no plan",
    ),
    "runner.options": (("core", "plan"), "options are values"),
    "runner.bottleneck": (("core",), "what limits this machine needs no knowledge of what it is used for"),
    "runner.accounts": (
        ("core", "money.spend_book", "simulator"),
        "what a manifest's endpoints cost and allow can be said without a key and a connection",
    ),
    "runner.run_money": (
        ("core", "runner.accounts", "money"),
        "what pictures cost can be said of a plan as well: nothing is sent or written for it",
    ),
    "runner.preparation": (
        ("core", "runner.accounts", "runner.options", "runner.run_money", "money", "manifest", "store", "plan"),
        "a plan needs no connection, no key and no writing; whatever plans cannot send",
    ),
    "runner.connections": (
        (
            "core",
            "runner.accounts",
            "runner.attempt",
            "runner.keys",
            "runner.reread",
            "dispatch.base",
            "limits.quota_store",
            "providers",
            "simulator",
        ),
        "keys are read, and connections made, in one place and only for a run",
    ),
    "runner.keys": (("core", "providers.secrets"), "where keys are looked for needs nothing of what they open"),
    "cli.moments": ((), "what a moment is called needs to know nothing of what it is for"),
}

#: Libraries that one place knows, and why only there.
LIBRARIES: dict[str, tuple[tuple[str, ...], str]] = {
    "httpx": (("providers.http",), "one place decides whether a request was sent"),
    "aiohttp": (
        ("providers.http", "simulator", "review"),
        "one place decides whether a request was sent; the others are servers",
    ),
    "tenacity": (("dispatch.retry",), "exactly one layer retries; a second would pay twice"),
    "yaml": (("manifest", "simulator.command"), "nothing behind the manifest knows how it was written"),
    "pydantic": (("manifest",), "inner code gets checked values, not shapes to check"),
    "jinja2": (
        ("manifest.templating", "analysis.page", "gallery.pages"),
        "a prompt is rendered once, when its job is made; pages are",
    ),
    "tqdm": (("report.progress",), "the core never prints; showing progress is a listener"),
    "click": (("cli", "simulator.command"), "inner code sees values, not command lines"),
    "filelock": (("store.lock", "store.decisions"), "one place knows how the folder is locked"),
    "msgspec": (("store", "review.wire"), "nothing behind the store knows how a line of the ledger is read"),
}


@dataclass(frozen=True)
class Import:
    """Module `importer` (without `batch.`) imports `imported`; `late`: inside a function, or for types only."""

    importer: str
    imported: str
    line: int
    late: bool

    def __str__(self) -> str:
        return f"batch.{self.importer}, line {self.line}, imports {self.imported}"


def imports() -> Iterator[Import]:
    for file in sorted(ROOT.rglob("*.py")):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        name = name.removesuffix(".__init__")
        tree = ast.parse(file.read_text("utf-8"))
        soon = set(top_level(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(name, alias.name, node.lineno, node not in soon)
            elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
                assert node.level == 0, f"batch.{name}, line {node.lineno}: imports are written in full"
                for alias in node.names:
                    yield Import(name, module_of(node.module or "", alias.name), node.lineno, node not in soon)


def top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run on import: not inside functions, not for type checkers only."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def module_of(module: str, name: str) -> str:
    """`from batch.manifest import fields` imports the module batch.manifest.schema.fields."""
    path = ROOT.parent / module.replace(".", "/")
    return f"{module}.{name}" if (path / f"{name}.py").exists() or (path / name).is_dir() else module


ALL = list(imports())
OURS = [each for each in ALL if each.imported.split(".")[0] == "batch"]


def part_of(module: str) -> str:
    return module.split(".")[0]


def within(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in allowed)


def test_every_part_has_its_place() -> None:
    """A new folder or file says here what it may know."""
    parts = {part_of(".".join(file.relative_to(ROOT).with_suffix("").parts)) for file in ROOT.rglob("*.py")}
    assert parts == set(ARROWS)


@pytest.mark.parametrize("part", sorted(ARROWS))
def test_arrows(part: str) -> None:
    """Each part imports only what stands before it."""
    allowed, reason = ARROWS[part]
    for each in OURS:
        if part_of(each.importer) != part:
            continue
        target = each.imported.removeprefix("batch").lstrip(".") or "__init__"
        assert part_of(target) == part or within(target, allowed), f"{each}; not wanted: {reason}"


@pytest.mark.parametrize("module", sorted(INSIDE))
def test_arrows_inside(module: str) -> None:
    """Modules of one room that must not know all that the room may know."""
    allowed, reason = INSIDE[module]
    assert any(each.importer == module for each in ALL), f"there is no {module}"
    for each in OURS:
        if each.importer == module:
            target = each.imported.removeprefix("batch.")
            assert within(target, allowed), f"{each}; not wanted: {reason}"


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_libraries(library: str) -> None:
    """Each foreign library is known in one place."""
    homes, reason = LIBRARIES[library]
    users = [each for each in ALL if each.imported.split(".")[0] == library]
    assert users, f"nobody uses {library}; take it out of the list and of pyproject.toml"
    for each in users:
        assert within(each.importer, homes), f"{each}; not wanted: {reason}"


def test_nobody_else_starts_the_simulator() -> None:
    """Only who opens endpoints and the command line know the simulator, or it could not be the judge."""
    users = {each.importer for each in OURS if each.imported.startswith("batch.simulator")}
    users = {user for user in users if part_of(user) not in ("simulator", "cli")}
    assert users <= {"runner.accounts", "runner.connections"}


def test_no_cycles() -> None:
    """Every module can be read after those it imports, also those it imports late or for types only."""
    graph: dict[str, set[str]] = {}
    for each in OURS:
        if each.imported != "batch":
            graph.setdefault(f"batch.{each.importer}", set()).add(each.imported)
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"a cycle: {' -> '.join((*way, module))}; what both need belongs below them"
        if module not in done:
            for imported in graph.get(module, ()):
                if imported != module:
                    visit(imported, (*way, module))
            done.add(module)

    for module in list(graph):
        visit(module, ())


def test_only_known_libraries() -> None:
    """Every foreign import is a dependency that pyproject.toml names."""
    text = (ROOT.parent / "pyproject.toml").read_text("utf-8").lower()
    named = {
        "pillow_heif": "pillow-heif",
        "yaml": "pyyaml",
        "PIL": "pillow",
        "pydantic_core": "pydantic",
        "yarl": "aiohttp",
        "markupsafe": "jinja2",
    }
    for each in ALL:
        top = each.imported.split(".")[0]
        if top != "batch" and top not in sys.stdlib_module_names:
            assert f'"{named.get(top, top)}' in text, f"{each}, which is no dependency"


def test_every_file_and_room_on_the_map_is_there() -> None:
    """A map that names what is gone sends a reader astray."""
    page = (ROOT.parent / "docs/architecture.md").read_text("utf-8")
    files = set(re.findall(r"`((?:\w+/)+\w+\.py)`", page))
    rooms = set(re.findall(r"^\| `(\w+/)` \|", page, re.MULTILINE))
    assert files
    places = (ROOT, ROOT.parent)
    assert [name for name in sorted(files) if not any((place / name).is_file() for place in places)] == []
    assert rooms == {f"{path.parent.name}/" for path in ROOT.glob("*/__init__.py")}
