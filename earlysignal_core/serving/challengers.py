"""A challenger's way: judged as a recipe, forward, then in shadow, until it is promoted, refused or overtaken."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from earlysignal_core.audit.announcements import share_classes
from earlysignal_core.datasets.cutoff import moment_of
from earlysignal_core.datasets.gather import FEATURES, LABELS
from earlysignal_core.datasets.labels import first_of_each_event
from earlysignal_core.errors import EarlySignalError, LakeError
from earlysignal_core.evaluation.adjustment import Prices
from earlysignal_core.evaluation.comparison import Comparison, Decision, Deploy, compare, decide
from earlysignal_core.evaluation.forward import Recipe, walk_monthly
from earlysignal_core.evaluation.metrics import measure
from earlysignal_core.evaluation.outcomes import outcome_returns
from earlysignal_core.evaluation.resampling import Resamples
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import decisions, deployments, freezes, predictions
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.deployments import Deployment
from earlysignal_core.ledger.errors import LedgerError
from earlysignal_core.ledger.vocabulary import DecisionKind
from earlysignal_core.models.bundle import Bundle, BundleError, NoModelYet, cutoff_of, load
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings
from earlysignal_core.sources import SourceDescription
from earlysignal_core.tables import KNOWABLE

FOLDER = "forward"
_ACTS = {
    Deploy.DEPLOY: DecisionKind.PROMOTION,
    Deploy.AB_TEST_14_DAYS: DecisionKind.AB_TEST,
    Deploy.AB_TEST_7_DAYS: DecisionKind.AB_TEST,
    Deploy.KEEP_CHAMPION: DecisionKind.REFUSAL,
    Deploy.UNDECIDED: DecisionKind.UNDECIDED,
}


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
    scores = walk_monthly(Recipe(settings), lake, source, since, at)
    scores = scores[scores["label"].notna()].reset_index(drop=True)
    sink = io.BytesIO()
    scores.to_parquet(sink, index=False)
    lake.write_bytes(_path(version), sink.getvalue())
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
    theirs = _one_an_event(predictions.read(ledger, since, at, versions=[serving.version]))
    forward = _forward(lake, version)
    shadow = _one_an_event(predictions.read(ledger, since, at, versions=[version]))
    shadow = shadow[~shadow["event"].isin(forward["event"])]
    mine = _with_outcomes(lake, source, pd.concat([forward, shadow], ignore_index=True), at)
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


def carry_out(ledger: Ledger, judgement: Judgement | NotJudged, at: pd.Timestamp) -> tuple[DecisionKind, str]:
    """Do what a judgement says, and record it with its figures, in one transaction.

    A verdict that asks for an A/B test, or one that finds promotions stopped, leaves the challenger in shadow, and so
    does what keeps it from being judged.

    Returns
    -------
    DecisionKind and str
        What was decided, and why.

    Raises
    ------
    ChampionChangedError
        If the champion is no longer the one that it was judged against.
    """
    if isinstance(judgement, NotJudged):
        said = f"{judgement.version} cannot be judged: {judgement.reason}"
        undecided = decisions.Decision(DecisionKind.UNDECIDED, at, said, "cannot be judged", subject=judgement.version)
        decisions.record(ledger, undecided)
        return DecisionKind.UNDECIDED, said
    kind, reason = _ACTS[judgement.decision.effective], judgement.decision.reason
    with ledger.transaction() as joined:
        if kind is DecisionKind.PROMOTION and freezes.is_frozen(joined):
            kind, reason = DecisionKind.UNDECIDED, f"promotions are stopped; otherwise it would serve: {reason}"
        record = _record(judgement, kind, reason, at)
        if kind is DecisionKind.PROMOTION:
            deployments.promote(joined, judgement.version, record, over=judgement.over)
        else:
            decisions.record(joined, record)
        if kind is DecisionKind.REFUSAL:
            deployments.retire(joined, judgement.version, _record(judgement, DecisionKind.RETIREMENT, reason, at))
    return kind, reason


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
    known = _with_outcomes(lake, source, rows, at)
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


def enter(
    ledger: Ledger, version: str, reason: str, at: pd.Timestamp, figures: Mapping[str, float] | None = None
) -> bool:
    """Let a new challenger score in shadow, in the place of older ones; False where it is deployed already."""
    champion, standing = deployments.champion(ledger), deployments.challengers(ledger)
    if version in [deployed.version for deployed in (champion, *standing) if deployed is not None]:
        return False
    with ledger.transaction() as joined:
        for older in standing:
            overtaken = decisions.Decision(
                DecisionKind.RETIREMENT, at, f"overtaken by {version}", rule="one challenger"
            )
            deployments.retire(joined, older.version, overtaken)
        begins = decisions.Decision(DecisionKind.SHADOW, at, reason, "new challenger", figures or {})
        deployments.shadow(joined, version, begins)
    return True


def place(
    ledger: Ledger,
    lake: Lake,
    source: SourceDescription,
    settings: Settings,
    model: Bundle | NoModelYet,
    reason: str,
    at: pd.Timestamp,
    *,
    season: Quarter | None = None,
) -> tuple[DecisionKind, str]:
    """Give a new model its place: the first one serves, a later one enters the shadow and is judged at once.

    It serves at once, too, where the champion cannot be loaded: there is nothing to compare it with.

    Where a season that has ended is named, the champion is judged on it, for the record.

    Returns
    -------
    DecisionKind and str
        What was decided, and why.
    """
    if isinstance(model, NoModelYet):
        said = f"{reason}: no model yet, {model.reason}"
        decisions.record(ledger, decisions.Decision(DecisionKind.REFUSAL, at, said, "enough history"))
        return DecisionKind.REFUSAL, said
    version = str(model.version)
    champion = deployments.champion(ledger)
    if champion is None and freezes.is_frozen(ledger):
        said = f"{reason}: promotions are stopped, and no model serves"
        decisions.record(ledger, decisions.Decision(DecisionKind.REFUSAL, at, said, "freeze", subject=version))
        return DecisionKind.REFUSAL, said
    if champion is None:
        said = f"{reason}: there is no model to compare it with"
        rows = {"rows": float(model.metadata["rows"])}
        first = decisions.Decision(DecisionKind.PROMOTION, at, said, "first model", rows, "deploy", "deploy")
        deployments.promote(ledger, version, first, over=None)
        return DecisionKind.PROMOTION, said
    figures = {} if season is None else backtest(lake, source, champion.version, season, at)
    if not enter(ledger, version, reason, at, figures):
        said = f"{reason}: the same inputs gave {version}, which is deployed already"
        decisions.record(ledger, decisions.Decision(DecisionKind.REFUSAL, at, said, "new model", subject=version))
        return DecisionKind.REFUSAL, said
    lost = _why_lost(lake, champion.version)
    if lost is None:
        return carry_out(ledger, judged(ledger, lake, source, settings, version, at), at)
    kind, said = DecisionKind.PROMOTION, f"{champion.version} cannot be loaded, so {version} serves: {lost}"
    if freezes.is_frozen(ledger):
        kind, said = DecisionKind.UNDECIDED, f"promotions are stopped; otherwise it would serve: {said}"
    record = decisions.Decision(kind, at, said, "champion lost", subject=version)
    if kind is DecisionKind.PROMOTION:
        deployments.promote(ledger, version, record, over=champion.version)
    else:
        decisions.record(ledger, record)
    return kind, said


def is_undecided(ledger: Ledger, version: str) -> bool:
    """Say whether a challenger is still to be judged: one that asks for an A/B test has had its look.

    Whoever judges the same two models again and again, until one look says so, promotes by chance.
    """
    found = decisions.read(ledger)
    verdicts = found[(found["subject"] == version) & found["kind"].isin([DecisionKind.UNDECIDED, DecisionKind.AB_TEST])]
    return verdicts.empty or verdicts["kind"].iloc[-1] == DecisionKind.UNDECIDED


def tried_since_promotion(ledger: Ledger) -> int:
    """Return how many challengers have been tried since the last promotion."""
    found = decisions.read(ledger)
    after = found[found["kind"] == DecisionKind.PROMOTION]["id"].max()
    shadows = found[found["kind"] == DecisionKind.SHADOW]
    return int((shadows["id"] > after).sum()) if pd.notna(after) else len(shadows)


def take_back_if_failing(ledger: Ledger, failed: int, asked: int, at: pd.Timestamp) -> Deployment | None:
    """Roll back a champion that could not be loaded or has erred, where another model has answered in its place."""
    if not failed:
        return None
    current = deployments.champion(ledger)
    if current is None or current.predecessor is None:
        return None
    figures = {"requests": float(asked), "champion_failures": float(failed)}
    cause = f"{current.version} failed for {failed} of {asked} requests, and its predecessor answered"
    decision = decisions.Decision(
        DecisionKind.ROLL_BACK, at, cause, "champion_failures > 0", figures, raw="roll back", effective="roll back"
    )
    return deployments.roll_back(ledger, decision, of=current.version)


def _record(judgement: Judgement, kind: DecisionKind, reason: str, at: pd.Timestamp) -> decisions.Decision:
    comparison, decision = judgement.comparison, judgement.decision
    auc = comparison.difference["auc"]
    figures = decision.figures | {
        "auc_difference_high": auc.high,
        "walk_forward_auc": comparison.challenger["auc"],
        "walk_forward_auc_low": comparison.challenger_auc.low,
        "champion_auc": comparison.champion["auc"],
        "companies": float(comparison.companies),
        "days": float(comparison.days),
    }
    fired = next((verdict.rule.name for verdict in decision.verdicts if verdict.raw), "no line")
    cause = f"{judgement.version} against {judgement.over} on {comparison.n} events: {reason}"
    return decisions.Decision(
        kind, at, cause, fired, figures, str(decision.raw), str(decision.effective), subject=judgement.version
    )


def _why_lost(lake: Lake, version: str) -> str | None:
    """Say why a model cannot be loaded; None where it can."""
    try:
        load(lake, version)
    except (BundleError, LakeError) as error:
        return str(error)
    return None


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


def _one_an_event(rows: pd.DataFrame) -> pd.DataFrame:
    told = rows[rows["predicted_probability"].notna()].drop_duplicates("event", keep="last")
    return told.rename(columns={"predicted_probability": "probability"})


def _with_outcomes(lake: Lake, source: SourceDescription, rows: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
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
    return joined.assign(company=joined["symbol"].replace(share_classes(earnings[earnings[KNOWABLE] <= at])))


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
