"""The workspace: everything of one source in one place, its lake, its Dagster storage, its logs."""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from earlysignal_core.lake import Lake
from earlysignal_core.settings import COLLECTED, SINGLE, Settings
from earlysignal_core.sources import Source, open_source

_LAST_SOURCE = "last-source.json"


@dataclass(frozen=True)
class Workspace:
    """What the settings name, opened.

    Attributes
    ----------
    settings : Settings
    """

    settings: Settings

    @cached_property
    def source(self) -> Source:
        """The source of all tables."""
        return open_source(self.settings)

    @cached_property
    def name(self) -> str:
        """The source's name with a digest of where it comes from and of the settings that decide its figures.

        Neither two tapes of one name mix, nor figures under an assumption with those without.
        """
        chosen = self.settings
        decides = [
            self._origin,
            self.source.description.settings.model_dump_json(),
            *map(str, (chosen.window_months, chosen.warmup_quarters, chosen.embargo_days, chosen.cost_bps)),
        ]
        if chosen.ensemble != SINGLE:
            decides.append(chosen.ensemble.model_dump_json())
        if chosen.tuned:
            decides.append("tuned")
        return f"{self.source.description.name}-{hashlib.sha256('|'.join(decides).encode()).hexdigest()[:6]}"

    @property
    def _origin(self) -> str:
        chosen = self.settings
        origin = str(chosen.tape.resolve()) if chosen.tape else chosen.synthetic.model_dump_json()
        return origin + (chosen.live.model_dump_json(include=set(COLLECTED)) if chosen.source == "live" else "")

    @cached_property
    def experiment(self) -> str:
        """What the workspaces of one source have in common, whatever their settings: they can be compared."""
        return f"{self.source.description.name}, source {hashlib.sha256(self._origin.encode()).hexdigest()[:6]}"

    @property
    def experiment_files(self) -> str:
        """Where the files of the experiments lie: beside the lakes of all workspaces."""
        return f"{self.settings.lake.rstrip('/') if self.settings.lake else self.home}/experiments"

    @property
    def home(self) -> Path:
        """The folder that holds all workspaces and the embedded PostgreSQL."""
        return self.settings.home.absolute()

    @property
    def root(self) -> Path:
        """The workspace's own folder."""
        return self.home / self.name

    @property
    def lake_url(self) -> str:
        """Where the lake is."""
        return f"{self.settings.lake.rstrip('/')}/{self.name}" if self.settings.lake else str(self.root / "lake")

    @cached_property
    def lake(self) -> Lake:
        """The lake."""
        return Lake(self.lake_url)

    def remember(self) -> None:
        """Let a later `up` without a source show this one."""
        self.home.mkdir(parents=True, exist_ok=True)
        tape = str(self.settings.tape.resolve()) if self.settings.tape else None
        Lake(str(self.home)).write_bytes(_LAST_SOURCE, json.dumps({"tape": tape, "workspace": self.name}).encode())

    @property
    def other_than_the_last(self) -> str | None:
        """The workspace of the last `demo`, `backfill` or `days` where that is another one: of other settings."""
        with suppress(OSError, ValueError, TypeError, AttributeError):
            last = json.loads((self.home / _LAST_SOURCE).read_text()).get("workspace")
            return str(last) if last not in (None, self.name) else None
        return None


def choose_source(tape: Path | None, *, or_the_last: bool = False) -> None:
    """Make a tape the source of this process and of those that it starts.

    Parameters
    ----------
    tape : Path or None
        None leaves the choice to the environment.
    or_the_last : bool
        Where neither names one, take the source of the last `demo` or `backfill`.
    """
    if tape is not None:
        os.environ["EARLYSIGNAL_TAPE"] = str(tape.resolve())
    elif or_the_last and "EARLYSIGNAL_TAPE" not in os.environ:
        # Where it cannot be read, nothing is remembered.
        with suppress(OSError, ValueError, TypeError, KeyError):
            last = json.loads((Settings().home / _LAST_SOURCE).read_text())["tape"]
            os.environ |= {"EARLYSIGNAL_TAPE": last} if last else {}
