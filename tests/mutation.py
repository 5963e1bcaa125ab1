"""A mutation run, module by module, each with the tests that are about it: `python -m tests.mutation store.ledger`.

mutmut knows one list of tests for all modules. With all of them a mutant that survives takes minutes, with its module's
own a second or two. Without a name every module is tried. Figures and what survived: docs/mutation.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
#: By module, the files of tests that may notice a change of it. They stay in one process, which mutmut needs.
TESTS: Final = {
    "dispatch.attempt_loop": [
        "dispatch/test_job_route",
        "dispatch/test_scheduler",
        "dispatch/test_waste_breaker",
        "dispatch/test_changes",
    ],
    "dispatch.held_repeats": ["dispatch/test_waste_breaker"],
    "dispatch.breaker": ["dispatch/test_breaker_states"],
    "dispatch.deadline": ["dispatch/test_job_route"],
    "dispatch.failure_patterns": ["dispatch/test_failure_patterns"],
    "dispatch.job_route": ["dispatch/test_job_route"],
    "dispatch.recovery": [
        "dispatch/test_recovery",
        "dispatch/test_job_route",
        "dispatch/test_scheduler",
        "dispatch/test_waste_breaker",
    ],
    "dispatch.retry": ["dispatch/test_retry"],
    "dispatch.route": [
        "dispatch/test_route",
        "dispatch/test_route_choice",
        "dispatch/test_waste_breaker",
        "dispatch/test_scheduler",
    ],
    "dispatch.router": ["dispatch/test_route_choice", "dispatch/test_changes", "dispatch/test_router"],
    "dispatch.scheduler": ["dispatch/test_scheduler", "dispatch/test_canary", "dispatch/test_waste_breaker"],
    "dispatch.turnstile": ["dispatch/test_turnstile", "limits/test_admission"],
    "dispatch.waste_breaker": ["dispatch/test_waste_breaker"],
    "limits.accepted_requests": ["limits/test_quotas_held", "limits/test_admission"],
    "limits.admission": ["limits/test_admission", "dispatch/test_route"],
    "limits.concurrency_limit": ["limits/test_quotas_held", "limits/test_admission"],
    "limits.gate": ["limits/test_admission", "limits/test_quotas_held"],
    "limits.quota_store": ["limits/test_quota_store", "limits/test_admission", "limits/test_quotas_locked"],
    "limits.quotas": ["limits/test_quotas", "limits/test_admission"],
    "limits.rate_pacer": ["limits/test_quotas_held", "limits/test_admission"],
    "limits.rate_spacing": ["limits/test_quotas_held", "limits/test_admission"],
    "limits.refusal_share": ["limits/test_quotas_held", "limits/test_admission"],
    "limits.rate_trial": ["limits/test_quotas_held", "limits/test_admission"],
    "money.book": ["money/test_book_contract", "money/test_spend_book", "money/test_wallet"],
    "money.spend_book": [
        "money/test_book_contract",
        "money/test_spend_book",
        "money/test_spend_book_held",
        "money/test_wallet",
    ],
    "money.wallet": ["money/test_wallet", "money/test_spend_book_held"],
    "runner.attempt": ["runner/test_attempt"],
    "store.background_replay": ["store/test_background_replay"],
    "store.columns": ["store/test_background_replay", "store/test_history"],
    "store.commit": ["store/test_commit"],
    "store.decoding": ["store/test_picture_formats", "store/test_picture_check", "store/test_pictures"],
    "store.disk_reserve": ["store/test_disk_reserve", "store/test_spool"],
    "store.durable": ["store/test_durable", "store/test_sync_order", "store/test_disk_reserve"],
    "store.folder": [
        "store/test_folder",
        "store/test_store",
        "store/test_store_records",
        "store/test_in_the_way",
        "store/test_background_replay",
        "end_to_end/test_rehearsals",
    ],
    "store.history": [
        "store/test_history",
        "store/test_background_replay",
        "plan/test_make",
        "store/test_store_records",
    ],
    "store.job_state": [
        "store/test_job_state",
        "store/test_history",
        "store/test_store_records",
        "plan/test_make",
        "runner/test_resolve",
    ],
    "store.ledger": [
        "store/test_log_contract",
        "store/test_records",
        "store/test_commit",
        "store/test_ledger",
        "store/test_sync_order",
        "store/test_store_records",
        "store/test_history",
    ],
    "store.ledger_reader": [
        "store/test_records",
        "runner/test_reread",
        "store/test_ledger",
        "store/test_store_records",
    ],
    "store.likeness": ["store/test_pictures"],
    "store.live_status": ["report/test_progress_reporter"],
    "store.lock": ["store/test_lock", "store/test_ownership_contract"],
    "store.lost_files": ["end_to_end/test_made_again", "report/test_status"],
    "store.picture_check": ["store/test_picture_check", "store/test_picture_formats"],
    "store.picture_folder": ["store/test_shelf_contract", "store/test_pictures", "store/test_sync_order"],
    "store.pictures": [
        "store/test_pictures",
        "store/test_store_records",
        "store/test_sync_order",
    ],
    "store.published": ["store/test_published", "store/test_store", "store/test_store_records"],
    "store.records": [
        "store/test_records",
        "store/test_store_records",
        "store/test_store",
        "store/test_history",
    ],
    "store.rehearsal": ["store/test_in_the_way", "store/test_folder"],
    "store.source_folder": ["store/test_store_records", "runner/test_run"],
    "store.spool": ["store/test_spool", "store/test_disk_reserve"],
    "store.store": [
        "store/test_store",
        "store/test_store_elsewhere",
        "store/test_store_records",
        "store/test_sync_order",
        "runner/test_attempt",
    ],
}
#: Tests of these files that take seconds each: left out, because every surviving mutant would wait for them.
SLOW: Final = [
    "dispatch/test_router::test_while_a_model_serves_nobody_the_other_is_asked_at_once",
    "dispatch/test_router::test_while_the_cheap_lane_has_room_for_nobody_it_is_left_alone",
    "dispatch/test_router::test_an_outage_of_one_costs_a_few_requests",
    "dispatch/test_router::test_every_job_ends_once_and_nothing_is_asked_that_must_not_be",
    "dispatch/test_router::test_a_gate_of_one_holds_up_nobody",
    "dispatch/test_router::test_an_outage_of_one_that_never_ends_does_not_end_the_run",
    "dispatch/test_router::test_together_they_are_as_fast_as_both_limits",
    "dispatch/test_router::test_near_the_deadline_the_ordinary_lane_is_taken",
    "dispatch/test_router::test_a_job_that_is_shed_takes_the_ordinary_lane_at_once",
    "dispatch/test_changes::test_what_was_found_by_trying_keeps_below_the_new_number",
    "dispatch/test_changes::test_fewer_a_minute_hold_at_once",
    "dispatch/test_changes::test_whatever_is_changed_nothing_oversteps",
    "dispatch/test_scheduler::test_whatever_happens",
    "dispatch/test_waste_breaker::test_chance_ends_no_batch",
    "limits/test_admission::test_no_quota_is_passed_in_any_minute",
    "limits/test_admission::test_no_minute_sees_more_than_the_limit",
    "store/test_picture_check::test_every_flipped_byte_of_a_png_is_found",
    "store/test_picture_check::test_any_bytes_give_facts_or_bad_picture",
]
_COPIED: Final = ("batch", "tests", "docs", "jobs", "README.md", "pyproject.toml")
_WORDS: Final = {0: "survived", 1: "killed", 3: "killed", 33: "not reached", 5: "not reached"}


def settings(module: str) -> str:
    """The `[tool.mutmut]` of one module. A test that hangs is a mutant noticed after some seconds."""
    slow = [f"--deselect={path_of_tests(name)}::{test}" for name, test in (each.split("::") for each in SLOW)]
    lists = {
        "source_paths": ["batch"],
        "only_mutate": [source(module)],
        "also_copy": [name for name in _COPIED if name not in ("batch", "tests", "pyproject.toml")],
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=8", "--tb=no", *slow],
        "pytest_add_cli_args_test_selection": [path_of_tests(name) for name in TESTS[module]],
    }
    rows = [f"{name} = {json.dumps(value)}" for name, value in lists.items()]
    return "\n".join(["[tool.mutmut]", *rows, "timeout_multiplier = 5.0", "track_dependencies = false", "", ""])


def source(module: str) -> str:
    return f"batch/{module.replace('.', '/')}.py"


def path_of_tests(name: str) -> str:
    return f"tests/{name}.py"


def try_module(module: str, folder: Path, children: int) -> Counter[str]:
    """Run mutmut on a copy; its words go to the terminal. Returns how many mutants ended in which way."""
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    with open(folder / "pyproject.toml", "a") as file:
        file.write("\n" + settings(module))
    mutmut = [sys.executable, "-m", "mutmut"]
    subprocess.run([*mutmut, "run", "--max-children", str(children)], cwd=folder, check=False)
    meta = json.loads((folder / "mutants" / f"{source(module)}.meta").read_text())
    ends: dict[str, int | None] = meta["exit_code_by_key"]
    for name in [name for name, code in ends.items() if _WORDS.get(code or 0) == "survived" and code is not None]:
        subprocess.run([*mutmut, "show", name], cwd=folder, check=False)
    return Counter("not tried" if code is None else _WORDS.get(code, "timed out") for code in ends.values())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="as in store.ledger; default: all")
    parser.add_argument("--children", type=int, default=2, help="mutants at once")
    options = parser.parse_args(arguments)
    unknown = [module for module in options.modules if module not in TESTS]
    if unknown:
        parser.error(f"no tests are named for {', '.join(unknown)}")
    for module in options.modules or TESTS:
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            ends = try_module(module, Path(folder), options.children)
        print(f"{module}: {sum(ends.values())} mutants, {dict(ends)}", flush=True)  # noqa: T201  (this is a program)
    return 0


if __name__ == "__main__":
    sys.exit(main())
