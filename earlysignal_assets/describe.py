"""How frames, figures and pictures look in the Dagster UI."""

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd

from earlysignal_core.rules import Verdict
from earlysignal_core.tables import KNOWABLE, TABLES

if TYPE_CHECKING:
    Materialized = dg.MaterializeResult[None]
else:  # Dagster takes an annotation with a type parameter for that of several outputs
    Materialized = dg.MaterializeResult

OWNER = "team:early-signal"


def schema_of_table(name: str) -> dg.TableSchema:
    """Return the columns of a cache's table, from its contract."""
    table = TABLES[name]
    notes = {KNOWABLE: "the moment (UTC) from which the row could be read", table.date: "decides the row's quarter"}
    return dg.TableSchema(
        [
            dg.TableColumn(
                column,
                str(kind.dtype.type),
                notes.get(column, "part of the key" if column in table.key else ""),
                dg.TableColumnConstraints(nullable=kind.nullable, unique=table.key == (column,)),
            )
            for column, kind in table.schema.items()
        ]
    )


def schema_of(frame: pd.DataFrame, notes: Mapping[str, str] | None = None) -> dg.TableSchema:
    """Return the columns of a frame."""
    known = notes or {}
    return dg.TableSchema(
        [dg.TableColumn(str(name), str(dtype), known.get(str(name), "")) for name, dtype in frame.dtypes.items()]
    )


def shown(frame: pd.DataFrame, rows: int = 20) -> dg.MarkdownMetadataValue:
    """Show the first rows of a frame as a table."""
    head = frame.head(rows)
    cells = head.map(_cell)
    lines = ["| " + " | ".join(map(str, frame.columns)) + " |", "|" + " --- |" * frame.shape[1]]
    lines += ["| " + " | ".join(row) + " |" for row in cells.to_numpy().tolist()]
    if len(frame) > rows:
        lines.append(f"\n{len(frame) - rows:,} more")
    return dg.MetadataValue.md("\n".join(lines))


def picture(name: str, png: bytes) -> dg.MarkdownMetadataValue:
    """Show a PNG inline."""
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})")


def numbers(figures: Mapping[str, float]) -> dict[str, dg.FloatMetadataValue]:
    """Return figures that plot over partitions; those that are undefined are left out rather than drawn as zero."""
    return {name: dg.MetadataValue.float(round(float(v), 6)) for name, v in figures.items() if np.isfinite(v)}


def verdicts(found: list[Verdict]) -> dg.MarkdownMetadataValue:
    """Show the lines of the rule table with what each said."""
    frame = pd.DataFrame(
        {
            "figure": [v.rule.figure for v in found],
            "value": [v.value for v in found],
            "fires when": [str(v.rule) for v in found],
            "then": [str(v.rule.action) for v in found],
            "raw": ["fires" if v.raw else "–" for v in found],
            "effective": ["fires" if v.effective else "–" for v in found],
            "reason": [v.reason for v in found],
        }
    )
    return shown(frame, len(frame))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if np.isnan(value) else f"{value:,.4g}"
    if isinstance(value, pd.Timestamp):
        return str(value.date()) if value == value.normalize() else value.strftime("%Y-%m-%d %H:%M")
    return "–" if value is None or value is pd.NaT else str(value).replace("|", "\\|")
