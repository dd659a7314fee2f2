"""What is known of a model's recipe out of sample: over all that was scored, and by sector, year and estimate."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from earlysignal_core.audit.announcements import companies_of, share_classes
from earlysignal_core.datasets.cutoff import Day
from earlysignal_core.evaluation.judge import NEVER
from earlysignal_core.evaluation.metrics import Figures, measure
from earlysignal_core.evaluation.ranking import ranking
from earlysignal_core.evaluation.resampling import Figure, Resamples, undefined, with_interval
from earlysignal_core.features.examples import event_id
from earlysignal_core.features.surprise import surprise_percent
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.quarterly import PREDICTIONS, evaluated
from earlysignal_core.quarters import Quarter
from earlysignal_core.serving.judging import FOLDER as FORWARD
from earlysignal_core.tables import KNOWABLE

# In dollars a share: a surprise is a percentage, and of a small estimate every cent is a large one.
_SIZES = (0.10, 0.25, 0.50, 1.00)


@dataclass(frozen=True)
class Slice:
    """How a recipe did on some of the announcements.

    Attributes
    ----------
    name : str
    n, large_beats : int
    base_rate, auc : Figure
        With intervals from resampled companies.
    forecast : float
        The mean probability; where it means what it says, it lies within the interval of the base rate.
    """

    name: str
    n: int
    large_beats: int
    base_rate: Figure
    forecast: float
    auc: Figure


@dataclass(frozen=True)
class Judged:
    """A recipe's forecasts whose outcome is known, judged.

    Attributes
    ----------
    first, last : Timestamp
        First and last announcement.
    models : int
        How many models of the recipe made the forecasts, each of announcements that it had not seen.
    figures : Figures
    slices : dict of list of Slice
        By what the announcements are told apart by.
    """

    first: pd.Timestamp
    last: pd.Timestamp
    models: int
    figures: Figures
    slices: dict[str, list[Slice]]


def judged(lake: Lake, bundle: Bundle) -> Judged | None:
    """Judge a model's recipe on all that it was walked forward over up to this model; None where that is not known yet.

    A model of a quarter stands at the end of the walk-forward of all quarters up to its own. A challenger's recipe was
    refitted month by month since its champion's cutoff.
    """
    rows = _of_day(lake, bundle) if isinstance(bundle.until, Day) else _of_quarter(lake, bundle)
    if rows is None or (rows := rows[rows["label"].notna()]).empty:  # a young champion leaves no step to walk
        return None
    rows = _with_estimates(lake, rows)
    drawn = Resamples.draw(rows["company"], seed=0)
    measured = measure(
        rows["label"], rows["probability"], rows["threshold"], rows[NEVER], drawn, rows["surprise"].to_numpy()
    )
    sizes = pd.cut(rows["estimate"].abs(), [0, *_SIZES, np.inf], right=False, labels=_size_names())
    kinds: dict[str, pd.Series] = {
        "sector": rows["sector"].fillna("unknown"),
        "year": rows["announced_on"].dt.strftime("%Y"),
        "size of the estimate": sizes,
    }
    return Judged(
        first=rows["announced_on"].min(),
        last=rows["announced_on"].max(),
        models=rows["model"].nunique(),
        figures=measured.figures,
        slices={kind: list(_slices(rows, by, drawn)) for kind, by in kinds.items()},
    )


def _of_quarter(lake: Lake, bundle: Bundle) -> pd.DataFrame | None:
    quarters = [q for q in evaluated(lake) if q <= Quarter.parse(str(bundle.until))]
    if not quarters or str(quarters[-1]) != str(bundle.until):
        return None
    rows = lake.read(PREDICTIONS, quarters)
    if bundle.version not in rows["version"].unique():  # another revision was judged
        return None
    return rows.assign(model=rows["version"])


def _of_day(lake: Lake, bundle: Bundle) -> pd.DataFrame | None:
    path = f"{FORWARD}/{bundle.version}.parquet"
    if not lake.exists(path):  # the first model of a production was compared with nothing
        return None
    rows = pd.read_parquet(io.BytesIO(lake.read_bytes(path)))
    # The base rate of all that it was trained on, the judged included: no forecaster knew it, and none did better.
    return rows.assign(model=rows["trained_on"], **{NEVER: bundle.metadata["base_rate"]})


def _with_estimates(lake: Lake, rows: pd.DataFrame) -> pd.DataFrame:
    """Add the consensus, the surprise and the company; of several announcements of an event the first counts."""
    earnings = lake.read(
        "earnings", [q for q in lake.quarters("earnings") if q <= Quarter.of(rows["announced_on"].max())]
    )
    told = pd.DataFrame(
        {
            "event": event_id(earnings),
            "estimate": earnings["eps_estimate"],
            "surprise": surprise_percent(earnings["eps_actual"], earnings["eps_estimate"]),
            KNOWABLE: earnings[KNOWABLE],
        }
    )
    told = told[told["surprise"].notna()].sort_values(KNOWABLE, kind="stable").drop_duplicates("event")
    if "company" not in rows:
        rows = rows.assign(company=companies_of(rows["symbol"], share_classes(earnings)))
    known = rows.drop(columns="surprise", errors="ignore")
    merged = known.merge(told[["event", "estimate", "surprise"]], on="event", how="left", validate="m:1")
    # One order, as for every resampled figure: sums, and so bytes, then depend on no other.
    return merged.sort_values(["as_of", "symbol", "event"], ignore_index=True)


def _size_names() -> list[str]:
    between = [f"{low:.2f} to {high:.2f} $" for low, high in pairwise(_SIZES)]
    return [f"below {_SIZES[0]:.2f} $", *between, f"{_SIZES[-1]:.2f} $ or more"]


def _slices(rows: pd.DataFrame, by: pd.Series, drawn: Resamples) -> Iterator[Slice]:
    label, score = rows["label"].to_numpy(dtype=np.int64), rows["probability"].to_numpy(dtype=np.float64)
    names = by.cat.categories if isinstance(by.dtype, pd.CategoricalDtype) else sorted(by.unique())
    for name in names:
        chosen = (by == name).to_numpy()
        if not chosen.any():
            continue
        positive, forecast, resamples = label[chosen], score[chosen], drawn.of(chosen)
        companies = resamples.companies
        sums = resamples.sums(np.column_stack([positive, np.ones(len(positive))]))
        rates = np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)
        both = len(np.unique(positive)) == 2
        yield Slice(
            name=str(name),
            n=len(positive),
            large_beats=int(positive.sum()),
            base_rate=with_interval(float(positive.mean()), rates, companies),
            forecast=float(forecast.mean()),
            auc=with_interval(
                float(roc_auc_score(positive, forecast)), ranking(positive, forecast, resamples).auc, companies
            )
            if both
            else undefined("one class only"),
        )
