"""What the commands share: the terminal, the progress bar, and the option that chooses the source."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

# A pipe has no width of its own: wide enough for every table.
console = Console(width=None if sys.stdout.isatty() else 110)
_SOURCE_HELP = (
    "A tape's folder. Without it: EARLYSIGNAL_TAPE, else (commands of production) that of the last demo, backfill or "
    "days, else the bundled synthetic source."
)
Tape = Annotated[Path | None, typer.Option(help=_SOURCE_HELP, show_default=False)]


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar; what is yielded is told what is under way, how much is done and how much there is."""
    columns = (TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("starting")
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def report_failures(outcome: Any) -> None:
    """Print what failed, and end with an error if anything did."""
    for what, reason in outcome.failures.items():
        console.print(f"[red]{what}[/red] {escape(str(reason))}", soft_wrap=True, highlight=False)
    if outcome.failures:
        raise typer.Exit(1)
