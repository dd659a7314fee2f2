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
_TABLE_HEAD = "| feature | definition | unit | looks back |\n|---|---|---|---|"


def render() -> str:
    """Return the documentation of all features as Markdown: for each family what its modules say, and a table."""
    families = groupby(catalogue().values(), key=lambda each: each.family)
    sections = [_section(family, list(features)) for family, features in families]
    return "\n\n".join([_HEAD.rstrip(), *sections]) + "\n"


def _section(family: str, features: Iterable[Feature]) -> str:
    modules = dict.fromkeys(each.compute.__module__ for each in features)
    notes = [(sys.modules[name].__doc__ or "").strip() for name in modules]
    rows = [f"| `{f.name}` | {_cell(f.definition)} | {f.unit} | {_look_back(f)} |" for f in features]
    return "\n\n".join([f"## {family.capitalize()}", *notes, "\n".join([_TABLE_HEAD, *rows])])


def _look_back(feature: Feature) -> str:
    read = [_reach(table, steps) for table, steps in feature.needs.items()]
    used = [f"({_reach(table, steps)})" for table, steps in feature.may_use.items()]
    required = [f"requires {' or '.join(f'`{option}`' for option in fact.split('|'))}" for fact in feature.requires]
    return "; ".join([*read, *used, *required, *(["of the day"] if feature.of_the_day else [])]) or "the calendar"


def _reach(table: str, steps: int) -> str:
    return f"`{table}`: {steps} {TABLES[table].axis}{'s' if steps > 1 else ''}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")
