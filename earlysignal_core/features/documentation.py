"""`docs/features.md`, rendered from the catalogue: ``python -m earlysignal_core.features.documentation FILE``."""

import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from earlysignal_core.features.catalogue import Feature, catalogue
from earlysignal_core.tables import TABLES

_HEAD = """\
# Features

Rendered from the catalogue, where one function is one feature and its docstring the definition. After a change:
`python -m earlysignal_core.features.documentation docs/features.md`.

Every feature is computed from the rows that were known at `as_of`: the close of the last session at least seven days
before the announcement. `t` is the last session whose close was known then, `C` and `V` are close and volume, `E(t)`
the consensus EPS for the coming announcement. Missing is NaN, never 0. *Looks back* gives what a feature reads and how
far, in brackets what it uses only where the source has it; *of the day* marks features that all companies share.
"""


def render() -> str:
    """Return the documentation of all features as Markdown, one table a family."""
    families = groupby(catalogue().values(), key=lambda each: each.family)
    sections = [_section(family, features) for family, features in families]
    return "\n".join([_HEAD, *sections])


def _section(family: str, features: Iterable[Feature]) -> str:
    rows = [f"| `{f.name}` | {_cell(f.definition)} | {f.unit} | {_look_back(f)} |" for f in features]
    return "\n".join(
        [
            f"## {family.capitalize()}",
            "",
            "| feature | definition | unit | looks back |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _look_back(feature: Feature) -> str:
    steps = [f"{count} {TABLES[table].axis}s of `{table}`" for table, count in feature.needs.items()]
    steps += [f"({count} {TABLES[table].axis}s of `{table}`)" for table, count in feature.may_use.items()]
    needed = [f"requires `{fact}`".replace("|", "\\|") for fact in feature.requires]
    return "; ".join([*steps, *needed, *(["of the day"] if feature.of_the_day else [])]) or "the calendar"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")
