"""A dataset: the examples of earlier quarters whose features and outcome were known at a cutoff."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from earlysignal_core.datasets.cutoff import Cutoff, Day, last_quarter, moment_of
from earlysignal_core.datasets.labels import first_of_each_event
from earlysignal_core.datasets.lineage import Digests, lineage, to_json
from earlysignal_core.datasets.quality import Judgement, judge_history
from earlysignal_core.datasets.splits import Part, assign_parts
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.features.table import EVENT_COLUMNS, active_features, inactive_features
from earlysignal_core.lake import Lake
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import KNOWABLE

MIN_ROWS, MIN_LARGE_BEATS = 200, 20
TABLE, RECORDS = "dataset", "dataset_lineage"


@dataclass(frozen=True)
class Dataset:
    """Examples in time order, with their record.

    Attributes
    ----------
    until : Quarter or Day
        The quarter that a model of this dataset predicts, or the day on which it is trained.
    frame : DataFrame
        The feature table's columns, then ``label``, ``label_available_at`` and ``part``.
    lineage : dict
        As `datasets.lineage.lineage` describes, and ``no_model_yet``.
    """

    until: Cutoff
    frame: pd.DataFrame
    lineage: dict[str, Any]

    @property
    def cutoff(self) -> pd.Timestamp:
        """The moment (UTC) at which everything in it was known."""
        return moment_of(self.until)

    @property
    def features(self) -> list[str]:
        """The features that a model may use: active, and with values."""
        return list(self.lineage["feature_extraction"]["features"])

    @property
    def no_model_yet(self) -> str | None:
        """Why there is too little history for a model, or None."""
        reason: str | None = self.lineage["no_model_yet"]
        return reason

    def save(self, lake: Lake) -> None:
        """Write both files; the record is the last, so that a dataset with a record is whole.

        Raises
        ------
        EarlySignalError
            If it is a day's: only those of quarters are stored.
        """
        if isinstance(self.until, Day):
            raise EarlySignalError(
                f"the dataset of {self.until} is not stored: its feature tables and labels stand in the lake. "
                f"Remedy: gather it again."
            )
        lake.write(TABLE, self.until, self.frame)
        lake.write_bytes(_record(self.until), to_json(self.lineage))

    @classmethod
    def load(cls, lake: Lake, quarter: Quarter) -> "Dataset":
        """Read a saved dataset.

        Raises
        ------
        LakeError
            If it has not been written.
        """
        record = json.loads(lake.read_bytes(_record(quarter)))
        return cls(quarter, lake.read(TABLE, [quarter]), record)


def build_dataset(
    until: Cutoff,
    tables: Mapping[Quarter, pd.DataFrame],
    labels: Mapping[Quarter, pd.DataFrame],
    source: SourceDescription,
    settings: Settings,
    mismatched_sectors: Collection[str] = (),
    digests: Digests | None = None,
    *,
    skip_validation: bool = False,
) -> Dataset:
    """Gather what was known at a cutoff: seven days before a quarter begins, or when a day begins.

    Parameters
    ----------
    until : Quarter or Day
    tables, labels : mapping of Quarter to DataFrame
        Feature tables and labels; those of a quarter that begins after the cutoff are ignored.
    source : SourceDescription
    settings : Settings
    mismatched_sectors : collection of str, optional
        Sectors to leave out, as the audit found them in the rows known at the cutoff.
    digests : mapping, optional
        Content hashes of the input partitions, for the record.
    skip_validation : bool
        Keep refused quarters; the record still names them.

    Returns
    -------
    Dataset
        Even where there is too little for a model; `Dataset.no_model_yet` then says why.
    """
    cutoff = moment_of(until)
    history = {q: rows for q in sorted(tables) if q <= last_quarter(until) and len(rows := _begun(tables[q], until))}
    known = {q: labels[q][labels[q][KNOWABLE] <= cutoff] for q in history}
    judgements = judge_history(history, known, source)
    refused = [q for q in history if judgements[q].refusals and not skip_validation]

    frame = _joined(history, known)
    rows_taken = {"announcements of earlier quarters": len(frame)}

    def without(rows: pd.Series, reason: str) -> pd.DataFrame:
        rows_taken[reason] = int(rows.sum())
        return frame[~rows]

    frame = without(frame["quarter"].isin([str(q) for q in refused]), "in a quarter refused by a blocking check")
    not_known = (frame["as_of"] > cutoff) | frame["label_available_at"].isna()
    frame = without(not_known, "features or outcome not known at the cutoff")
    frame = without(frame["label"].isna(), "no surprise to compute (estimate of 0, or a missing figure)")
    frame = without(_before_window(frame["as_of"], cutoff, settings.window_months), "before the window")
    frame = without(frame["sector"].isin(mismatched_sectors), "in a sector whose estimates have another basis")
    frame = frame.drop(columns="quarter").sort_values(["as_of", "symbol"], kind="stable", ignore_index=True)
    frame["part"] = assign_parts(frame["as_of"], frame["label_available_at"], settings.embargo_days)
    rows_taken["purged between parts (used by the refit)"] = int((frame["part"] == Part.PURGED).sum())

    active = list(active_features(source))
    features = [name for name in active if frame[name].notna().any()]
    record = lineage(
        until=until,
        cutoff=cutoff,
        frame=frame,
        features=features,
        left_out=inactive_features(source)
        | {name: "no value in this dataset" for name in active if name not in features},
        filters=rows_taken,
        quality=_quality(judgements) | {"validation_skipped": skip_validation},
        source=source,
        settings=settings,
        mismatched_sectors=sorted(mismatched_sectors),
        digests=digests or {},
    )
    reason = _too_little(until, frame, list(history), source, settings)
    if reason is not None and refused:
        reason += f"; blocking checks have refused {', '.join(map(str, refused))}"
    record["no_model_yet"] = reason
    return Dataset(until, frame, record)


def _record(quarter: Quarter) -> str:
    return f"{RECORDS}/{quarter}.json"


def _begun(table: pd.DataFrame, until: Cutoff) -> pd.DataFrame:
    """Return the rows of a feature table that stood there on a day: later ones may not sway its checks."""
    return table[table["as_of"] <= moment_of(until)] if isinstance(until, Day) else table


def _joined(history: Mapping[Quarter, pd.DataFrame], known: Mapping[Quarter, pd.DataFrame]) -> pd.DataFrame:
    """Return every example with its quarter and its label as far as known, NaN where it is not."""
    rows = pd.concat(
        [_no_examples(), *(table.assign(quarter=str(q)) for q, table in history.items())], ignore_index=True
    )
    if rows.empty:
        return rows.assign(label=np.empty(0), label_available_at=rows["as_of"])
    # By date too: of an event that was announced twice, only the announcement that the label is of is an example.
    labels = first_of_each_event(pd.concat(known.values(), ignore_index=True))
    labels = labels.rename(columns={KNOWABLE: "label_available_at"})
    chosen = labels[["event", "announced_on", "label", "label_available_at"]]
    return rows.merge(chosen, on=["event", "announced_on"], how="left", validate="m:1")


def _no_examples() -> pd.DataFrame:
    types = dict.fromkeys([*EVENT_COLUMNS, "quarter"], "str") | dict.fromkeys(catalogue(), "float64")
    types |= {"scheduled_on": "datetime64[ns]", "announced_on": "datetime64[ns]", "as_of": "datetime64[ns, UTC]"}
    return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in types.items()})


def _before_window(as_of: pd.Series, cutoff: pd.Timestamp, months: int | None) -> pd.Series:
    if months is None:
        return pd.Series(False, index=as_of.index)
    return as_of <= cutoff - pd.DateOffset(months=months)


def _quality(judgements: Mapping[Quarter, Judgement]) -> dict[str, Any]:
    """Return the figures of the newest quarter, and the quarters that were refused."""
    newest = max(judgements, default=None)
    figures = judgements[newest].figures if newest else {}
    return {
        "newest_quarter": str(newest) if newest else None,
        "completeness": figures.get("completeness"),
        "label_balance": figures.get("share_of_large_beats"),
        "outlier_rate": figures.get("worst_outlier_share"),
        "passed": not judgements[newest].refusals if newest else None,
        "refused_quarters": {str(q): judged.refusals for q, judged in judgements.items() if judged.refusals},
    }


def _too_little(
    until: Cutoff, frame: pd.DataFrame, announced: list[Quarter], source: SourceDescription, settings: Settings
) -> str | None:
    """Say why there is too little history for a model, or None where there is enough."""
    if not announced:
        return f"no announcement before {until}"
    spanned = Quarter.parse(source.last) - announced[0] + 1
    needed = min(settings.warmup_quarters, spanned // 2)
    if len(announced) < needed:
        return f"too little history: {len(announced)} of the {needed} quarters with announcements that are needed"
    large_beats = int(frame["label"].sum())
    if len(frame) < MIN_ROWS or large_beats < MIN_LARGE_BEATS:
        return (
            f"{len(frame)} examples with {large_beats} large beats known before {until}, of the "
            f"{MIN_ROWS} with {MIN_LARGE_BEATS} that are needed"
        )
    for part in (Part.TRAIN, Part.VALIDATION):
        if frame.loc[frame["part"] == part, "label"].nunique() < 2:
            return f"the {part} part of the examples before {until} does not hold both outcomes"
    return None
