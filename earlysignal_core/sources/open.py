"""Choosing the source that the settings name."""

import hashlib
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from earlysignal_core.settings import Settings
from earlysignal_core.sources.source import Source
from earlysignal_core.sources.tape import DESCRIPTION, TapeSource


def open_source(settings: Settings) -> Source:
    """Return the source that the settings name: live, a tape, or else a synthetic tape, generated once."""
    tape = TapeSource(settings.tape, settings) if settings.tape is not None else None
    if settings.source == "live":
        return _live(settings, tape)
    if tape is not None:
        return tape
    return TapeSource(_generated(settings), settings)


def _live(settings: Settings, tape: Source | None) -> Source:
    from earlysignal_core.sources.live.clock import WallClock
    from earlysignal_core.sources.live.limits import LocalLimits, PostgresLimits
    from earlysignal_core.sources.live.source import LiveSource

    clock, url = WallClock(), settings.database_url or settings.ledger_url
    limits = LocalLimits(clock) if url is None else PostgresLimits(url.get_secret_value())
    return LiveSource(settings, limits, clock, tape)


def _generated(settings: Settings) -> Path:
    digest = hashlib.sha256(settings.synthetic.model_dump_json().encode()).hexdigest()[:12]
    folder = settings.home.absolute() / "tapes" / f"synthetic-{digest}"
    if not (folder / DESCRIPTION).exists():
        from earlysignal_core.sources.synthetic import generate_tape

        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".unfinished-") as unfinished:
            generate_tape(settings.synthetic, Path(unfinished) / folder.name)
            with suppress(OSError):  # another process was faster: its tape has the same bytes
                (Path(unfinished) / folder.name).rename(folder)
    return folder
