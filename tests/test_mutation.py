"""The lists of the mutation run name what there is: a module or a test that moved is noticed here, not in that run."""

from __future__ import annotations

import re

import pytest

from tests.mutation import ROOT, SLOW, TESTS, path_of_tests, source


@pytest.mark.parametrize("module", TESTS)
def test_every_module_and_its_files_of_tests_exist(module: str) -> None:
    """And no file is named twice."""
    assert (ROOT / source(module)).is_file()
    assert [name for name in TESTS[module] if not (ROOT / path_of_tests(name)).is_file()] == []
    assert len(set(TESTS[module])) == len(TESTS[module])


@pytest.mark.parametrize("slow", SLOW)
def test_every_test_that_is_left_out_exists(slow: str) -> None:
    """In a file that some module's run takes."""
    name, test = slow.split("::")
    assert f"def {test}(" in (ROOT / path_of_tests(name)).read_text()
    assert any(name in files for files in TESTS.values())


@pytest.mark.parametrize("page", ["mutation.md", "mutation-survivors.md"])
def test_the_pages_name_modules_that_exist(page: str) -> None:
    """In their tables and headings."""
    named = re.findall(r"^(?:\| |## )`([a-z_]+\.[a-z_]+)`", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    assert named
    assert [module for module in named if not (ROOT / source(module)).is_file()] == []
