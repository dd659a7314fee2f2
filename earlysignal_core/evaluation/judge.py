"""The verdict on a set of predictions: one quarter, all of them, or those that no choice has seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import ValidationError

from earlysignal_core.errors import TableError
from earlysignal_core.evaluation.metrics import HARDER, PAIRED, Figures, measure, paired
from earlysignal_core.evaluation.portfolio import (
    WINDOWS,
    Portfolio,
    WindowReturn,
    calendar_time_portfolio,
    window_return,
)
from earlysignal_core.evaluation.resampling import Figure, FloatArray, Record, Resamples
from earlysignal_core.evaluation.top_decile import TopDecile, limits, top_decile
from earlysignal_core.quarters import Quarter

NEVER = "never"
BASELINES = (NEVER, "large_beat_rate_8q", "last_surprise_over_15", "logistic_history")
_SCORES = ("probability", *BASELINES)
_NEVER_MISSING = ("event", "symbol", "announced_on", "as_of", "probability", "threshold", "version", NEVER)
_COLUMNS = (
    *_NEVER_MISSING,
    "label",
    "surprise",
    *BASELINES[1:],
    *(f"{kind}_{window}" for window in WINDOWS for kind in ("return", "benchmark")),
)


class Baseline(Record):
    """A naive forecast on the same announcements.

    Attributes
    ----------
    figures : Figures
    filled : int
        Announcements without a score of this baseline; the training base rate stood in.
    difference : dict of Figure
        Model minus baseline: auc, average_precision, brier, and the AUCs of `metrics.HARDER`.
    top_decile : TopDecile
    """

    figures: Figures
    filled: int
    difference: dict[str, Figure]
    top_decile: TopDecile


class Evaluation(Record):
    """All that is known of the model's predictions over a stretch of time, and of each baseline's.

    Attributes
    ----------
    name : str
        ``2018-Q3``, ``pooled``, …
    first, last : str
        First and last announcement, as dates; empty where there is none.
    predictions, unlabelled : int
        All predictions, and those whose outcome cannot be known (no actual, or an estimate of 0): these count in
        returns, not in figures.
    versions : list of str
        The models that predicted.
    """

    name: str
    first: str
    last: str
    predictions: int
    unlabelled: int
    versions: list[str]
    model: Figures
    baselines: dict[str, Baseline]
    top_decile: TopDecile
    returns: dict[str, WindowReturn]
    portfolio: Portfolio
    portfolio_of_all: Portfolio

    def to_json(self) -> str:
        """Return JSON, the same bytes for the same predictions; undefined numbers are null."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Evaluation":
        """Read what `to_json` wrote.

        Raises
        ------
        TableError
            It was written by a version of this code with other figures.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problem = f"holds other figures than this code writes ({error.error_count()} differences)"
            raise TableError("evaluation", problem, "materialise the evaluations again, then the report") from error


@dataclass(frozen=True)
class WalkForward:
    """Every quarter's evaluation, all quarters together, and those that no choice has seen."""

    quarters: Sequence[Evaluation]
    pooled: Evaluation
    untouched: Evaluation
    untouched_from: Quarter


def evaluate(
    predictions: pd.DataFrame,
    positions: pd.DataFrame,
    *,
    name: str,
    earlier: pd.DataFrame | None = None,
    cost_bps: float = 10,
    seed: int = 0,
) -> Evaluation:
    """Judge a set of predictions; a quarter and all quarters alike.

    Parameters
    ----------
    predictions : DataFrame
        Rows of one or more `predictions` partitions in any order; `company` (which share classes have in common) where
        it differs from `symbol`.
    positions : DataFrame
        Daily returns from `outcomes.outcome_returns` for the same events; others are ignored.
    name : str
        What the evaluation is called.
    earlier : DataFrame, optional
        Predictions of the five quarters before, from which the first top 10 % are told; others are ignored.
    cost_bps : float
        Cost per side of a trade.
    seed : int
        Of the resampling.

    Raises
    ------
    TableError
        A column is missing, or a prediction is.
    """
    rows = _checked(predictions, name)
    filled = rows[list(BASELINES)].isna()
    rows = _filled(rows)
    limit = _limits(rows, None if earlier is None else _filled(earlier))
    selected = {column: rows[column].to_numpy() > limit[column] for column in limit}
    judged = ~np.isnan(limit["probability"])
    company = rows["company"].fillna(rows["symbol"]) if "company" in rows else rows["symbol"]
    drawn = Resamples.draw(company, seed=seed)

    known = rows["label"].notna().to_numpy()
    labelled, of_labelled = rows[known], drawn.of(known)
    rate, surprise = labelled[NEVER], labelled["surprise"]
    model = measure(labelled["label"], labelled["probability"], labelled["threshold"], rate, of_labelled, surprise)
    baselines = {}
    for column in BASELINES:
        measured = measure(labelled["label"], labelled[column], None, rate, of_labelled, surprise)
        baselines[column] = Baseline(
            figures=measured.figures,
            filled=int(filled.loc[known, column].sum()),
            difference=paired(model, measured, (*PAIRED, *HARDER)),
            top_decile=top_decile(rows["label"], selected[column], judged, drawn),
        )
    by_event = pd.Series(company.to_numpy(), index=rows["event"])
    portfolios = {
        kind: calendar_time_portfolio(positions, by_event[chosen], cost_bps=cost_bps, seed=seed)
        for kind, chosen in (("selected", selected["probability"]), ("all", judged))
    }
    days = rows["announced_on"].dt.strftime("%Y-%m-%d")
    return Evaluation(
        name=name,
        first=days.min() if len(days) else "",
        last=days.max() if len(days) else "",
        predictions=len(rows),
        unlabelled=len(rows) - len(labelled),
        versions=sorted(rows["version"].unique()),
        model=model.figures,
        baselines=baselines,
        top_decile=top_decile(rows["label"], selected["probability"], judged, drawn),
        returns={
            window: window_return(
                (rows[f"return_{window}"] - rows[f"benchmark_{window}"]).to_numpy(),
                selected["probability"],
                judged,
                drawn,
                cost_bps=cost_bps,
            )
            for window in WINDOWS
        },
        portfolio=portfolios["selected"],
        portfolio_of_all=portfolios["all"],
    )


def walk_forward(
    quarters: Sequence[Evaluation],
    predictions: pd.DataFrame,
    positions: pd.DataFrame,
    *,
    untouched_from: Quarter,
    cost_bps: float = 10,
    seed: int = 0,
) -> WalkForward:
    """Judge all quarters together, and apart from them those after every choice was made.

    Parameters
    ----------
    quarters : sequence of Evaluation
        Each quarter's own, in time order.
    predictions, positions : DataFrame
        Of all quarters, as for `evaluate`.
    untouched_from : Quarter
        The first quarter that played no part in choosing hyperparameters.
    """
    untouched = predictions["announced_on"] >= untouched_from.start

    def judged(rows: pd.DataFrame, name: str, earlier: pd.DataFrame | None = None) -> Evaluation:
        return evaluate(rows, positions, name=name, earlier=earlier, cost_bps=cost_bps, seed=seed)

    return WalkForward(
        quarters=quarters,
        pooled=judged(predictions, "pooled"),
        untouched=judged(predictions[untouched], "untouched", earlier=predictions[~untouched]),
        untouched_from=untouched_from,
    )


def _checked(predictions: pd.DataFrame, name: str) -> pd.DataFrame:
    """Refuse what cannot be judged, and bring the rows into one order: sums, and so bytes, then depend on no other."""
    absent = [column for column in _COLUMNS if column not in predictions]
    if absent:
        problem = f"lacks the column(s) {', '.join(absent)}"
        raise TableError("predictions", problem, "materialise the evaluation again", partition=name)
    rows = predictions.sort_values(["as_of", "symbol", "event"], ignore_index=True)
    for column in _NEVER_MISSING:
        if (missing := rows[column].isna()).any():
            row = f"event={rows['event'].iloc[int(missing.to_numpy().argmax())]}"
            problem = f"`{column}` is missing in {missing.sum()} row(s)"
            raise TableError("predictions", problem, "a quarter without a model has no rows", row, name)
    if (twice := rows["event"].duplicated()).any():
        row = f"event={rows['event'].iloc[int(twice.to_numpy().argmax())]}"
        raise TableError("predictions", "an event appears more than once", "pass each partition once", row, name)
    return rows


def _filled(rows: pd.DataFrame) -> pd.DataFrame:
    """Without a score of its own (no history yet) a baseline falls back to the training base rate."""
    return rows.assign(**{column: rows[column].fillna(rows[NEVER]) for column in BASELINES})


def _limits(rows: pd.DataFrame, earlier: pd.DataFrame | None) -> dict[str, FloatArray]:
    """Return what each row's scores must exceed to be in the top 10 %, told from the rows and those before them."""
    known = rows if earlier is None else pd.concat([earlier[~earlier["event"].isin(rows["event"])], rows])
    found = limits(rows["as_of"], known["as_of"], known[list(_SCORES)].to_numpy(dtype=np.float64))
    return dict(zip(_SCORES, found.T, strict=True))
