"""The command that writes what was collected as a tape."""

from pathlib import Path
from typing import Annotated

import typer

from earlysignal_assets import tables_shown
from earlysignal_assets.terminal import Tape, console, progress
from earlysignal_assets.workspace import Workspace, choose_source
from earlysignal_core.errors import SourceError
from earlysignal_core.settings import Settings

tapes = typer.Typer()


@tapes.command("export-tape")
def export(
    dest: Annotated[Path, typer.Argument(help="The tape's folder: a new one, or an empty one.")], tape: Tape = None
) -> None:
    """Write what is cached of a source as a tape, to share, to test with, or to replay: `--tape DEST` reads it."""
    from earlysignal_core.quarterly import SOURCE, described
    from earlysignal_core.sources.export import export_tape, tables_of_tape

    choose_source(tape)
    workspace = Workspace(Settings())
    lake = workspace.lake
    if not lake.exists(SOURCE):
        raise SourceError(
            f"nothing of the source `{workspace.source.description.name}` is cached: {lake} is empty. "
            f"Remedy: run `earlysignal backfill` first, for the caches alone with `--select` and their names."
        )
    source = described(lake)
    with progress() as told:
        written = export_tape(lake, source, dest.absolute(), told)
    not_collected = [table for table in tables_of_tape(source) if table not in written]
    tables_shown.print_tape(console, dest, written, not_collected)
