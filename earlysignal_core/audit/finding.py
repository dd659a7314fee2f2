"""What the audit says: one finding is one defect, where it is, how it shows and what was done about it."""

from dataclasses import asdict, dataclass, fields

import pandas as pd


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes
    ----------
    kind : str
        What is wrong, like ``level_shift``; `findings.KINDS` explains each.
    symbol : str or None
        The company; None for a finding about a group or a whole table.
    date : Timestamp or None
        The session or day where it shows first; None where it has no day.
    evidence : str
        Words and numbers, enough to judge the finding by.
    action : str
        What the system does about it.
    group : str or None
        The sector or table that a finding without a symbol is about.
    """

    kind: str
    symbol: str | None
    date: pd.Timestamp | None
    evidence: str
    action: str
    group: str | None = None


COLUMNS = [field.name for field in fields(Finding)]


def to_frame(findings: list[Finding]) -> pd.DataFrame:
    """Return findings as a table: kind, symbol, date (datetime64), evidence, action, group."""
    frame = pd.DataFrame([asdict(finding) for finding in findings], columns=COLUMNS)
    return frame.astype({name: "str" for name in COLUMNS if name != "date"}).astype({"date": "datetime64[ns]"})
