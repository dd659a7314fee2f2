"""Running the command as a user does, in a process of its own, on a small synthetic source."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

# Eight quarters of sixty companies: the fewest that give models, evaluations and a report.
SMALL = {"EARLYSIGNAL_SYNTHETIC__SYMBOLS": "60", "EARLYSIGNAL_SYNTHETIC__QUARTERS": "8"}


def environment(home: Path, **changes: str) -> dict[str, str]:
    """Return the environment of a command that works in `home`."""
    return {**os.environ, **SMALL, "EARLYSIGNAL_HOME": str(home), **changes}


def command(*arguments: str | Path) -> list[str]:
    """Return the command line of `earlysignal`."""
    return [sys.executable, "-m", "earlysignal_assets.cli", *map(str, arguments)]


def run(home: Path, *arguments: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run `earlysignal` to its end."""
    settings = environment(home, **changes)
    return subprocess.run(command(*arguments), env=settings, capture_output=True, text=True, timeout=550, check=False)


def workspace(home: Path) -> Path:
    """Return the one workspace of a home."""
    (found,) = [path.parent for path in home.glob("*/lake")]
    return found


def digests(lake: Path) -> dict[str, str]:
    """Return the hash of every file of a lake."""
    files = sorted(path for path in lake.rglob("*") if path.is_file())
    return {str(path.relative_to(lake)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
