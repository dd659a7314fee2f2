"""How frames, figures and pictures look in the Dagster UI."""

import base64
import re
from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd

from earlysignal_core.rules import Verdict, written
from earlysignal_core.tables import KNOWABLE, TABLES

if TYPE_CHECKING:
    Materialized = dg.MaterializeResult[None]
else:  # Dagster takes an annotation with a type parameter for that of several outputs
    Materialized = dg.MaterializeResult

OWNER = "team:early-signal"
_LONG = 1000  # characters from which on Dagster gives a text a dialog
_ROOM, _GAP = 54, 2  # characters in place, at 1,500 pixels
_WRAPS, _MARKS = re.compile(r"[\s-]"), re.compile(r"[*_|<>`\[\]]")


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
    cells = [list(map(str, frame.columns)), *frame.head(rows).map(_cell).to_numpy().tolist()]
    # Dagster shows a short text in place, in half of the page, and cuts off what is wider; a long one has a dialog of
    # its own. Dashes below the heading cost nothing.
    rule = " --- " if _fits(cells) else f" {'-' * _LONG} "
    lines = ["|" + "|".join(f" {cell} " for cell in row) + "|" for row in cells]
    lines.insert(1, "|" + "|".join([rule] + [" --- "] * (frame.shape[1] - 1)) + "|")
    if len(frame) > rows:
        lines.append(f"\n{len(frame) - rows:,} more")
    return dg.MetadataValue.md("\n".join(lines))


def listed(items: Sequence[str], none: str) -> dg.MarkdownMetadataValue:
    """Show texts as a list, which wraps where a table would be cut off."""
    return dg.MetadataValue.md("\n".join(f"* {item}" for item in items) or none)


def lines_of(text: str) -> dg.MarkdownMetadataValue:
    """Show a text line by line."""
    return dg.MetadataValue.md(_plain(text))


def decisions_shown(made: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """Show decisions, as of `ledger.decisions.read`: when, what and why, then the rule and what it says as written."""
    texts = []
    for row in made.to_dict("records"):
        of = f" {row['subject']}" if isinstance(row["subject"], str) else ""
        rule = f" (rule *{row['rule']}*" if isinstance(row["rule"], str) else f" (by {row['decided_by']}"
        differs = isinstance(row["raw"], str) and row["raw"] != row["effective"]
        written = f"; as written, without its guards: {row['raw']})" if differs else ")"
        texts.append(f"{_cell(row['at'])} **{row['kind']}**{of}: {_plain(row['cause'])}{rule}{written}")
    return listed(texts, "nothing")


def alerts_shown(raised: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """Show alerts, as of `ledger.alerts.read`, the newest first."""
    texts = []
    for row in raised.iloc[::-1].to_dict("records"):
        delivered = "delivered" if row["sent_at"] is not pd.NaT else "not delivered"
        told = f"**{row['severity']}: {_plain(row['title'])}** {_plain(row['body'])}"
        texts.append(f"{_cell(row['at'])} {told} ({delivered})")
    return listed(texts, "none")


def picture(name: str, png: bytes) -> dg.MarkdownMetadataValue:
    """Show a PNG inline."""
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})")


def numbers(figures: Mapping[str, float]) -> dict[str, dg.FloatMetadataValue]:
    """Return figures that plot over partitions; those that are undefined are left out rather than drawn as zero."""
    return {name: dg.MetadataValue.float(_legible(float(v))) for name, v in figures.items() if np.isfinite(v)}


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


def _legible(value: float) -> float:
    """Round to four digits that tell something; what stands before the point is kept."""
    return round(value, max(3 - floor(log10(abs(value))), 0)) if value else 0.0


def _fits(cells: list[list[str]]) -> bool:
    """Say whether a table has room in place: its columns are as wide as their longest piece that does not wrap."""
    widths = [max(len(piece) for cell in column for piece in _WRAPS.split(cell)) for column in zip(*cells, strict=True)]
    return sum(widths) + _GAP * len(widths) <= _ROOM


def _plain(text: str) -> str:
    """Return a text that Markdown does not take for its own marks, in lines where it has several."""
    lines = _MARKS.sub(r"\\\g<0>", text).splitlines()
    return "  \n  ".join(" ".join(line.split()) for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "–" if np.isnan(value) else written(value)
    if isinstance(value, pd.Timestamp):
        return str(value.date()) if value == value.normalize() else value.strftime("%Y-%m-%d %H:%M")
    return "–" if value is None or value is pd.NaT else str(value).replace("|", "\\|")
