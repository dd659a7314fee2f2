"""What a newcomer runs first: the lock, the Makefile, the hooks."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
PINNED = {
    name: [Version(pin) for pin in re.findall(rf"^{re.escape(name)}==(\S+)", LOCK, re.MULTILINE)]
    for name in re.findall(r"^([a-z0-9-]+)==", LOCK, re.MULTILINE)
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]  # these tests run under a make themselves
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_every_locked_package_has_its_hash() -> None:
    entries = re.split(r"\n(?=\S)", LOCK.strip())
    packages = [entry for entry in entries if not entry.startswith("#")]
    assert len(packages) > 100
    assert [entry for entry in packages if "--hash=sha256:" not in entry] == []


def test_the_lock_names_no_address() -> None:
    assert re.findall(r"https?:|file:|index|/home|/root|/work", LOCK) == []


@pytest.mark.parametrize("needed", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]])
def test_the_lock_holds_what_the_project_asks_for(needed: str) -> None:
    requirement = Requirement(needed)
    pins = PINNED.get(canonicalize_name(requirement.name))
    assert pins, f"`make lock` has not been run since `{needed}` was added"
    assert all(requirement.specifier.contains(pin) for pin in pins), f"`make lock` has not been run for `{needed}`"


def test_an_unfit_python_is_refused_with_a_plain_message(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    refused = make(tmp_path, "setup", "PYTHON=false")
    assert refused.returncode != 0
    assert "needs Python 3.11, 3.12 or 3.13" in refused.stderr
    assert not (tmp_path / ".venv").exists()


def test_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert {line.split()[1] for line in make(ROOT, "help").stdout.splitlines()} == set(phony.split())


def test_the_hooks_run_the_tools_of_the_virtual_environment() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: (.*)", text) == ["local"]
    assert [entry for entry in re.findall(r"entry: (.*)", text) if not entry.startswith(".venv/bin/")] == []


@pytest.mark.long  # the checks of every change begin with it anyway
def test_make_setup_in_a_fresh_clone(tmp_path: Path) -> None:
    clone = tmp_path / "a clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    done = make(clone, "setup")
    assert done.returncode == 0, done.stderr
    installed = subprocess.run(
        [clone / ".venv" / "bin" / "earlysignal", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "backfill" in installed.stdout
    assert "Setting up" not in make(clone, "setup").stdout, "what is set up is not set up again"
