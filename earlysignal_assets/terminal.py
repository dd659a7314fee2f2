"""What the commands share: the terminal, and the option that chooses the source."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

# A pipe has no width of its own: wide enough for every table.
console = Console(width=None if sys.stdout.isatty() else 110)
_SOURCE_HELP = "A tape's folder. Without it: EARLYSIGNAL_TAPE, else the bundled synthetic source."
Tape = Annotated[Path | None, typer.Option(help=_SOURCE_HELP, show_default=False)]
