"""What live data is compared with: the rows that a model was trained on, kept beside it."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from earlysignal_core.datasets.comparison import FloatArray, ks_distance
from earlysignal_core.datasets.lineage import to_json
from earlysignal_core.datasets.splits import Part
from earlysignal_core.errors import LakeError
from earlysignal_core.lake import Lake, parquet
from earlysignal_core.models.bundle import FOLDER, Bundle
from earlysignal_core.models.calibration import Calibration
from earlysignal_core.models.ensemble import refit
from earlysignal_core.monitoring.action import MonitoringError

FILE = "reference.parquet"
WINDOW_DAYS = 30
MIN_VALUES = 30
# A feature's own months say what is usual where there are so many of them.
MIN_WINDOWS = 8
USUAL = 0.95
# Rows of earlier years so many days around the same day of the year are of the same season.
SEASON_DAYS = 20
_YEAR = 365.25


class ReferenceLostError(MonitoringError):
    """The rows that a model was trained on were never kept, or are lost or damaged: it cannot be watched."""


@dataclass(frozen=True)
class Reference:
    """The training rows of a model: moments, features, and what the model says of them.

    Attributes
    ----------
    version : str
        The model's.
    frame : DataFrame
        ``as_of``, ``label``, ``part`` (of the split), ``probability``, and a column for each feature that the model
        reads; in time order.

    Notes
    -----
    The Kolmogorov–Smirnov distance needs a sample, not a summary. It is stored beside the model rather than read from
    `dataset[Q]`: a quarter's dataset may be materialised anew while the model stands, and a challenger trained on a
    day in production has no quarter.

    The probabilities are the model's on its own training rows. Out-of-sample forecasts of the models before it would
    be the cleaner reference, but differ from model to model: on the long tape the median PSI of a quiet month is 0.16
    against the model's own and 0.29 against theirs. How far rows that it has not learned from usually lie from them is
    told by `held_out`.
    """

    version: str
    frame: pd.DataFrame

    @classmethod
    def of(cls, bundle: Bundle, rows: pd.DataFrame) -> "Reference":
        """Return the reference of a saved model, given the rows of the dataset that it was trained on.

        Raises
        ------
        MonitoringError
            If the rows are not as many as the model was trained on, or the model has no version yet.
        """
        if bundle.version is None:
            raise MonitoringError("the model has no version yet. Remedy: save it first.")
        if len(rows) != bundle.metadata["rows"]:
            raise MonitoringError(
                f"model {bundle.version} was trained on {bundle.metadata['rows']} rows and these are {len(rows)}. "
                f"Remedy: pass the dataset {bundle.metadata['dataset_version']} that it was trained on."
            )
        frame = rows[["as_of", "label", "part", *bundle.features]].assign(probability=bundle.predict(rows))
        return cls(bundle.version, frame.sort_values("as_of", kind="stable", ignore_index=True))

    def save(self, lake: Lake) -> None:
        """Write it beside its model; what stands there already stays, as models never change."""
        lake.claim(f"{FOLDER}/{self.version}/{FILE}", parquet(self.frame, compression="zstd"))

    @classmethod
    def load(cls, lake: Lake, version: str) -> "Reference":
        """Read a model's reference.

        Raises
        ------
        ReferenceLostError
            If there is none, or it is damaged.
        """
        path = f"{FOLDER}/{version}/{FILE}"
        try:
            return cls(version, pq.read_table(io.BytesIO(lake.read_bytes(path))).to_pandas())
        except (LakeError, pa.ArrowException, OSError) as error:
            raise ReferenceLostError(
                f"{path} is missing or damaged ({type(error).__name__}): nothing can be compared with what {version} "
                f"was trained on. Remedy: train a new model, or promote another."
            ) from error

    @property
    def features(self) -> list[str]:
        """The model's features."""
        return [name for name in self.frame.columns if name not in ("as_of", "label", "part", "probability")]

    @cached_property
    def samples(self) -> dict[str, FloatArray]:
        """The sorted values of each feature, without missing ones."""
        return dict(zip(self.features, samples(self.frame[self.features].to_numpy("float64")), strict=True))

    @cached_property
    def forecasts(self) -> FloatArray:
        """The sorted probabilities."""
        return sample(self.frame["probability"])

    @cached_property
    def usual(self) -> dict[str, float]:
        """How far a month of the training period itself lay from all of it: 95 % of the months lay no further.

        NaN where fewer than `MIN_WINDOWS` months have enough values.
        """
        return {name: usual(self.frame, name, partial(ks_distance, old=self.samples[name])) for name in self.features}

    def held_out(self, bundle: Bundle) -> pd.DataFrame:
        """Return forecasts of rows that were not learned from: ``as_of, probability``, in time order.

        They are those of the model of the train part alone, with the same trees and calibration, of the rows after it.
        """
        learned = (self.frame["part"] == Part.TRAIN).to_numpy()
        later = self.frame[~learned]
        pool = refit(bundle.model, self.frame[learned], later["as_of"].min())
        scores = pool.predict(later[bundle.features].to_numpy(dtype="float64"))
        probability = Calibration(**bundle.model["calibration"]).apply(scores)
        return self.frame.loc[~learned, ["as_of"]].assign(probability=probability).reset_index(drop=True)

    def season(self, middle: pd.Timestamp) -> pd.DataFrame:
        """Return the rows of the same season of earlier years as a moment."""
        apart = (self.frame["as_of"].to_numpy("datetime64[ns]") - middle.to_datetime64()) / np.timedelta64(1, "D")
        to_nearest = (apart + _YEAR / 2) % _YEAR - _YEAR / 2
        return self.frame[np.abs(to_nearest) <= SEASON_DAYS]


def keep_reference(lake: Lake, bundle: Bundle, rows: pd.DataFrame) -> None:
    """Keep the reference of a saved model, given the rows that it was trained on; one that stands already stays.

    Raises
    ------
    MonitoringError
        As for `Reference.of`.
    """
    if not lake.exists(f"{FOLDER}/{bundle.version}/{FILE}"):
        Reference.of(bundle, rows).save(lake)


def counted_once(
    lake: Lake, bundle: Bundle, file: str, names: Sequence[str], count: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """Return figures of a saved model that are counted when they are first asked for, and then kept beside it.

    The same rows give the same figures, so a file that is damaged is counted anew, as one that is missing is.

    Parameters
    ----------
    lake : Lake
    bundle : Bundle
    file : str
    names : sequence of str
        Those of the figures.
    count : callable
    """
    path = f"{FOLDER}/{bundle.version}/{file}"
    if lake.exists(path):
        try:
            kept = json.loads(lake.read_bytes(path))
            return {name: np.nan if kept[name] is None else float(kept[name]) for name in names}
        except (ValueError, KeyError, TypeError):
            pass
    found = count()
    lake.write_bytes(path, to_json(found))
    return found


def sample(values: pd.Series) -> FloatArray:
    """Return the finite values of a column, sorted."""
    numbers = values.to_numpy(dtype="float64")
    return np.sort(numbers[np.isfinite(numbers)])


def samples(values: FloatArray) -> list[FloatArray]:
    """Return the finite values of each column of a matrix, sorted."""
    is_finite = np.isfinite(values)
    ordered = np.sort(np.where(is_finite, values, np.nan).T, axis=1)  # NaN last
    return [column[:count] for column, count in zip(ordered, is_finite.sum(axis=0).tolist(), strict=True)]


def usual(rows: pd.DataFrame, column: str, how_far: Callable[[FloatArray], float]) -> float:
    """Return what 95 % of the 30-day windows of some rows keep within.

    Parameters
    ----------
    rows : DataFrame
        ``as_of`` in time order, and the column.
    column : str
    how_far : callable
        Of the sorted values of a window.

    Returns
    -------
    float
        NaN where fewer than `MIN_WINDOWS` windows have `MIN_VALUES` values.
    """
    time = rows["as_of"]
    if time.empty:
        return np.nan
    months = pd.date_range(time.iloc[-1], time.iloc[0], freq=f"-{WINDOW_DAYS}D")[::-1]
    moments, ends = (each.to_numpy("datetime64[ns]") for each in (time, months))
    edges = np.searchsorted(moments, ends, side="right").tolist()
    windows = [sample(rows[column].iloc[start:end]) for start, end in pairwise(edges)]
    distances = [how_far(window) for window in windows if len(window) >= MIN_VALUES]
    return float(np.quantile(distances, USUAL)) if len(distances) >= MIN_WINDOWS else np.nan
