"""The folder `operator/` must never shadow Python's own module of that name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_standard_operator_module_wins_from_the_repository_root() -> None:
    code = "import operator, json; print(operator.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()

    assert not found.startswith(str(ROOT / "operator"))


def test_operator_folder_is_no_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_every_tests_folder_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    parents = {parent for folder in folders for parent in folder.parents if parent.is_relative_to(ROOT / "tests")}

    missing = [str(folder.relative_to(ROOT)) for folder in folders | parents if not (folder / "__init__.py").exists()]

    assert missing == []
