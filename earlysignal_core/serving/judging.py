"""How a challenger is judged: its recipe walked forward, then its own scores, paired with the champion's."""

import io
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from earlysignal_core.audit.announcements import companies_of, share_classes
from earlysignal_core.datasets.cutoff import moment_of
from earlysignal_core.datasets.gather import FEATURES, LABELS
from earlysignal_core.datasets.labels import first_of_each_event
from earlysignal_core.errors import EarlySignalError, LakeError
from earlysignal_core.evaluation.adjustment import Prices
from earlysignal_core.evaluation.comparison import Comparison, Decision, compare, decide
from earlysignal_core.evaluation.forward import Recipe, Refits, walk_monthly
from earlysignal_core.evaluation.metrics import measure
from earlysignal_core.evaluation.outcomes import outcome_returns
from earlysignal_core.evaluation.resampling import Resamples
from earlysignal_core.lake import Lake, parquet
from earlysignal_core.ledger import decisions, deployments, predictions
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.errors import LedgerError
from earlysignal_core.ledger.vocabulary import DecisionKind
from earlysignal_core.models.bundle import BundleError, cutoff_of, load
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import KNOWABLE

FOLDER = "forward"


class NotJudgedError(EarlySignalError):
    """A challenger that cannot be judged: a file that this needs is missing or damaged."""


@dataclass(frozen=True)
class NotJudged:
    """A challenger that cannot be judged now, and why: it stays in shadow."""

    version: str
    reason: str


@dataclass(frozen=True)
class Judgement:
    """What a challenger's comparison with the champion says.

    Attributes
    ----------
    version : str
    over : str
        The champion that it was judged against.
    comparison : Comparison
    decision : Decision
    """

    version: str
    over: str
    comparison: Comparison
    decision: Decision


def walk_forward(
    lake: Lake,
    source: SourceDescription,
    settings: Settings,
    version: str,
    champion: str,
    at: pd.Timestamp,
    *,
    otherwise: pd.Timestamp | None = None,
    refits: Refits | None = None,
) -> pd.DataFrame:
    """Judge a challenger's recipe forward since the champion's cutoff, and keep the scores.

    Parameters
    ----------
    lake : Lake
    source : SourceDescription
    settings : Settings
        Those that the challenger was trained under.
    version, champion : str
    at : Timestamp
        UTC; nothing that was not known then is used.
    otherwise : Timestamp, optional
        Since when (UTC) instead, where the champion's cutoff can no longer be read.
    refits : dict, optional
        As of `evaluation.forward.Recipe`.

    Returns
    -------
    DataFrame
        As of `evaluation.forward.walk_monthly`, without the events whose outcome is not known yet: a source that is
        live has no row of them.
    """
    try:
        since = moment_of(cutoff_of(lake, champion))
    except BundleError:
        if otherwise is None:
            raise
        since = otherwise
    scores = walk_monthly(Recipe(settings, refits), lake, source, since, at)
    scores = scores[scores["label"].notna()].reset_index(drop=True)
    lake.write_bytes(_path(version), parquet(scores, compression="snappy"))
    return scores


def judge(
    ledger: Ledger, lake: Lake, source: SourceDescription, settings: Settings, version: str, at: pd.Timestamp
) -> Judgement:
    """Compare a challenger with the champion on the events that both have predicted.

    The challenger's predictions are those of its recipe walked forward, and from its training on its own in shadow.
    The champion's are those that it has made in production.

    Raises
    ------
    LedgerError
        If there is no champion.
    NotJudgedError
        If the champion's cutoff or the challenger's forward scores cannot be read.
    """
    serving = deployments.champion(ledger)
    if serving is None:
        raise LedgerError(f"{version} cannot be judged: there is no champion. Remedy: promote one first.")
    try:
        since = moment_of(cutoff_of(lake, serving.version))
    except BundleError as error:
        raise NotJudgedError(str(error)) from error
    theirs = one_an_event(predictions.read(ledger, since, at, versions=[serving.version]))
    forward = _forward(lake, version)
    shadow = one_an_event(predictions.read(ledger, since, at, versions=[version]))
    shadow = shadow[~shadow["event"].isin(forward["event"])]
    mine = with_outcomes(lake, source, pd.concat([forward, shadow], ignore_index=True), at)
    compared = mine[mine["event"].isin(theirs["event"])]
    comparison = compare(
        theirs[["event", "probability", "threshold", "as_of"]],
        mine,
        _positions(lake, source, compared, at),
        challengers_tried=tried_since_promotion(ledger),
        cost_bps=settings.cost_bps,
    )
    return Judgement(version, serving.version, comparison, decide(comparison, settings.promotion))


def judged(
    ledger: Ledger, lake: Lake, source: SourceDescription, settings: Settings, version: str, at: pd.Timestamp
) -> Judgement | NotJudged:
    """Judge a challenger as `judge` does, or say why it cannot be judged: one lost file is not to stop production."""
    try:
        return judge(ledger, lake, source, settings, version, at)
    except NotJudgedError as error:
        return NotJudged(version, str(error))


def backtest(
    lake: Lake, source: SourceDescription, version: str, quarter: Quarter, at: pd.Timestamp
) -> dict[str, float]:
    """Return how a model does on a season that has ended, on what it had not learned from.

    Returns
    -------
    dict of str to float
        ``season_n``, ``season_base_rate``, ``season_auc`` with the 95 % interval by company ``season_auc_low`` and
        ``season_auc_high``, ``season_brier`` and ``season_brier_base_rate``; NaN where undefined. Only ``season_n``,
        0, of a model that has learned of all of that season, or cannot be loaded: its successor is not to wait for it.
    """
    try:
        model = load(lake, version)
    except (BundleError, LakeError):
        return {"season_n": 0.0}
    rows = lake.read(FEATURES, [quarter])
    rows = rows[(rows["as_of"] > moment_of(model.until)) & (rows["as_of"] <= at)].reset_index(drop=True)
    known = with_outcomes(lake, source, rows, at)
    known = known[known["label"].notna()].reset_index(drop=True)
    if known.empty:  # it has learned of all of that season
        return {"season_n": 0.0}
    base_rate = model.metadata["base_rate"]
    threshold, never = (pd.Series(value, index=known.index) for value in (model.threshold, base_rate))
    probability = pd.Series(model.predict(known), index=known.index)
    drawn = Resamples.draw(known["company"], seed=0)
    figures = measure(known["label"], probability, threshold, never, drawn).figures
    auc = figures["auc"]
    return {
        "season_n": float(len(known)),
        "season_base_rate": figures["base_rate"].value,
        "season_auc": auc.value,
        "season_auc_low": auc.low,
        "season_auc_high": auc.high,
        "season_brier": figures["brier"].value,
        "season_brier_base_rate": figures["brier_base_rate"].value,
    }


def tried_since_promotion(ledger: Ledger) -> int:
    """Return how many challengers have been tried since the last promotion."""
    found = decisions.read(ledger)
    after = found[found["kind"] == DecisionKind.PROMOTION]["id"].max()
    shadows = found[found["kind"] == DecisionKind.SHADOW]
    return int((shadows["id"] > after).sum()) if pd.notna(after) else len(shadows)


def _forward(lake: Lake, version: str) -> pd.DataFrame:
    """Read what `walk_forward` kept, without the labels."""
    path = _path(version)
    try:
        return pd.read_parquet(io.BytesIO(lake.read_bytes(path))).drop(columns="label")
    except (LakeError, pa.ArrowException, OSError) as error:
        raise NotJudgedError(
            f"{path} is missing or damaged ({type(error).__name__}). Remedy: restore it from a copy, or train a new "
            f"challenger (`earlysignal retrain`)."
        ) from error


def one_an_event(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the last prediction with a probability of each event, of those of one model."""
    told = rows[rows["predicted_probability"].notna()].drop_duplicates("event", keep="last")
    return told.rename(columns={"predicted_probability": "probability"})


def with_outcomes(lake: Lake, source: SourceDescription, rows: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    """Return rows with the labels that were known at a moment, and their announcement as it came."""
    near = _near(source, rows, LABELS, lake)
    if not near:
        return rows.assign(label=float("nan"), company=rows["symbol"])
    labels = lake.read(LABELS, near)
    known = first_of_each_event(labels[labels[KNOWABLE] <= at])
    came = known[["event", "announced_on", "label"]].rename(columns={"announced_on": "came_on"})
    joined = rows.merge(came, on="event", how="left")
    joined["announced_on"] = joined.pop("came_on").fillna(joined["announced_on"])
    earnings = lake.read("earnings", near)
    return joined.assign(company=companies_of(joined["symbol"], share_classes(earnings[earnings[KNOWABLE] <= at])))


def _positions(lake: Lake, source: SourceDescription, rows: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    prices = Prices.load(lake, source, _near(source, rows, "ohlcv", lake)).known(at).on_one_basis()
    return outcome_returns(rows.reset_index(drop=True), prices, source.benchmark).positions


def _near(source: SourceDescription, rows: pd.DataFrame, table: str, lake: Lake) -> list[Quarter]:
    """Return the quarters of a table that tell of some announcements: from before the first to after the last."""
    if rows.empty:
        return []
    first, last = Quarter.of(rows["announced_on"].min()), Quarter.of(rows["announced_on"].max())
    return [q for q in Quarter.range(first - 1, last + 1) if q in source.quarters and lake.has(table, q)]


def _path(version: str) -> str:
    return f"{FOLDER}/{version}.parquet"
