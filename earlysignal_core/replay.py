"""History lived again: every day through `daily.py`, under a policy of when to retrain, and what came of it.

A replay has a ledger of its own and, over the live lake's data, a folder of its own (`replays/<policy>`) for models
and records. It sees the data as a day saw it, decides what that day would have decided, and trains in line, as the days
of a tape wait for a retrain that is due. Two replays of the same data and settings give the same decisions.
"""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from time import process_time
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import ThreadpoolController

from earlysignal_core import daily
from earlysignal_core.audit.announcements import companies_of
from earlysignal_core.datasets.gather import FEATURES, LABELS
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.evaluation.metrics import figures, measure, paired
from earlysignal_core.evaluation.resampling import Figure, Resamples
from earlysignal_core.evaluation.top_decile import limits, top_decile
from earlysignal_core.lake import Lake, Overlay
from earlysignal_core.ledger import days, decisions, deployments, outcomes, predictions, retrain_requests
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.retrain_requests import RetrainRequest
from earlysignal_core.ledger.vocabulary import DecisionKind
from earlysignal_core.models.bundle import metadata_of
from earlysignal_core.monitoring import retrain_policy
from earlysignal_core.monitoring.announced import Announced
from earlysignal_core.monitoring.day_record import DayRecord
from earlysignal_core.monitoring.retrain_policy import Cause
from earlysignal_core.production import Hour, Production
from earlysignal_core.quarterly import SOURCE, described
from earlysignal_core.settings import Settings
from earlysignal_core.sources import SourceDescription

FOLDER = "replays"
DECISION_COLUMNS = ("day", "kind", "subject", "rule", "raw", "effective", "cause", "figures")
EMERGENCIES = frozenset({Cause.ACCURACY, Cause.AUC, Cause.BRIER_SKILL, Cause.PREDICTION_DRIFT})
Progress = Callable[[str, int, int], None]
_RUN = "replay"
_DAY = pd.Timedelta(days=1)


class ReplayError(EarlySignalError):
    """A replay that cannot be made as it was asked for."""


class Policy(StrEnum):
    """When a model is retrained; the first model is trained under each."""

    NEVER = "never"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    DRIFT = "drift"
    ALL = "all"
    STRICT = "strict"

    @property
    def causes(self) -> frozenset[Cause]:
        """The lines of the tree that may act."""
        return frozenset({Cause.FIRST, *_CAUSES.get(self, Cause)})


_CAUSES: Mapping[Policy, frozenset[Cause]] = MappingProxyType(
    {
        Policy.NEVER: frozenset(),
        Policy.MONTHLY: frozenset({Cause.MONTHLY}),
        Policy.QUARTERLY: frozenset({Cause.SEASON}),
        Policy.DRIFT: EMERGENCIES | {Cause.FEATURE_DRIFT, Cause.CALIBRATION, Cause.IMPORTANCE},
    }
)


@dataclass(frozen=True)
class Score:
    """How all that was served did, of what was known at the end.

    Attributes
    ----------
    served, labelled : int
        Events that a model has answered for, and those whose outcome is known: these carry the figures.
    base_rate, auc, brier_skill, precision, lift : Figure
        With 95 % intervals by company. Brier skill is against the base rate of each model's training rows; precision
        is that of the top 10 %, and lift that over the base rate of what could be ranked.
    """

    served: int
    labelled: int
    base_rate: Figure
    auc: Figure
    brier_skill: Figure
    precision: Figure
    lift: Figure


@dataclass(frozen=True)
class Replay:
    """What a policy would have done.

    Attributes
    ----------
    policy : Policy
    first, last : Timestamp
        The days that were lived.
    decisions : DataFrame
        `DECISION_COLUMNS`, in order; `day` as text, `figures` a dict.
    retrains : DataFrame
        One row a retrain: ``day, cause, version`` (None where there was too little history), ``verdict`` (what was
        decided at once) and ``came_to``: ``promoted``, ``in shadow`` at the end, or ``nothing``.
    watched : DataFrame
        One row a day: ``day, champion`` and figures of the day's records: ``auc, labelled, psi, features_drifted,
        mean_distance``.
    answers : DataFrame
        What was served, one row an event whose outcome is known: ``event, company, label, probability, threshold,
        base_rate`` (of the training rows of the model that answered).
    score : Score
    training_seconds : float
        Of the processor, for trainings and the walk-forward of each challenger's recipe.
    """

    policy: Policy
    first: pd.Timestamp
    last: pd.Timestamp
    decisions: pd.DataFrame
    retrains: pd.DataFrame
    watched: pd.DataFrame
    answers: pd.DataFrame
    score: Score
    training_seconds: float

    def count(self, kind: DecisionKind) -> int:
        """Return how many decisions are of a kind."""
        return int((self.decisions["kind"] == kind).sum())

    @property
    def by_cause(self) -> dict[str, int]:
        """How many retrains each cause has had, the first model's apart from the others."""
        found = self.retrains["cause"].value_counts()
        return {cause: int(found[cause]) for cause in Cause if cause in found.index}

    @property
    def false_alarms(self) -> int:
        """Emergencies that came to nothing: the model they gave was not better, neither at once nor later in shadow.

        That the world had moved is not excluded: it may be that no model could follow.
        """
        return int((self.retrains["cause"].isin(EMERGENCIES) & (self.retrains["came_to"] == "nothing")).sum())

    def over(self, other: "Replay") -> dict[str, Figure]:
        """Return what this policy has over another one on the events that both answered for.

        Returns
        -------
        dict of Figure
            AUC (above 0 is better) and Brier score (below 0 is better), this one's less the other's, from resampled
            companies.
        """
        rows = self.answers.merge(other.answers, on="event", suffixes=("", "_other"), validate="1:1")
        drawn = Resamples.draw(rows["company"], seed=0)
        mine, theirs = (
            measure(rows["label"], rows[f"probability{of}"], rows[f"threshold{of}"], rows[f"base_rate{of}"], drawn)
            for of in ("", "_other")
        )
        return paired(mine, theirs, ("auc", "brier"))

    def table(self) -> dict[str, Any]:
        """Return the policy's line of the comparison, ready for JSON."""
        score = self.score
        return {
            "policy": str(self.policy),
            "from": f"{self.first:%Y-%m-%d}",
            "to": f"{self.last:%Y-%m-%d}",
            "retrains": len(self.retrains),
            "retrains_by_cause": self.by_cause,
            "ab_tests": self.count(DecisionKind.AB_TEST),
            "promotions": self.count(DecisionKind.PROMOTION),
            "refusals": self.count(DecisionKind.REFUSAL),
            "roll_backs": self.count(DecisionKind.ROLL_BACK),
            "false_alarms": self.false_alarms,
            "served": score.served,
            "labelled": score.labelled,
            **{
                name: getattr(score, name).model_dump(mode="json")
                for name in ("base_rate", "auc", "brier_skill", "precision", "lift")
            },
            "training_seconds": round(self.training_seconds, 2),
        }


def replay(
    lake: Lake,
    ledger: Ledger,
    settings: Settings,
    policy: Policy,
    first: pd.Timestamp,
    last: pd.Timestamp,
    progress: Progress,
    timer: Callable[[], float] = process_time,
) -> Replay:
    """Live some days under a policy.

    Parameters
    ----------
    lake : Lake
        Holds the source's tables, labels and feature tables up to `last` (`daily.refresh`). Its data is read; what the
        replay writes goes to its folder ``replays/<policy>``, which is emptied first.
    ledger : Ledger
        An empty one.
    settings : Settings
    policy : Policy
    first, last : Timestamp
        Days, without a time zone.
    progress : function of (what, done, total)
    timer : callable
        Seconds that only grow, for the compute spent.

    Raises
    ------
    ReplayError
        If the ledger is not empty, or the source does not hold the days.
    """
    source = described(lake)
    _expect_days(source, first, last)
    if days.last_finished(ledger) is not None:
        raise ReplayError(f"{ledger!r} is not empty. Remedy: give a replay a schema of its own.")
    folder = f"{FOLDER}/{policy}"
    lake.remove_folder(folder)
    shown = {SOURCE, LABELS, FEATURES, *source.tables}
    chosen = settings.model_copy(update={"strict_rules": settings.strict_rules or policy is Policy.STRICT})
    production = Production(Overlay(lake.url, shown, folder), ledger, chosen, policy.causes, is_lived_again=True)
    span = pd.date_range(first, last)
    watched, retrains, seconds, threads = [], [], 0.0, ThreadpoolController()
    with _for_many_days():
        for done, day in enumerate(span):
            progress(f"{policy} {day:%Y-%m-%d}", done, len(span))
            with threads.limit(limits=1):  # for sums as small as a day's they wait for each other, busily
                watched.append(_live(day, production))
            request = retrain_requests.in_flight(ledger)
            if request is not None and retrain_policy.may_start(request, day):
                started = timer()
                retrains.append(_retrain(day, production, request))
                seconds += timer() - started
    progress(str(policy), len(span), len(span))
    answers, score = _score(production, last)
    return Replay(
        policy,
        first,
        last,
        _decisions(ledger),
        _with_results(pd.DataFrame(retrains, columns=["day", "cause", "version", "verdict"]), ledger),
        pd.DataFrame(watched),
        answers,
        score,
        seconds,
    )


@contextmanager
def _for_many_days() -> Iterator[None]:
    """Spare what one day does not mind, and a thousand do.

    A day chooses from hundreds of small frames, which is quicker where text is kept as Python's objects and not as
    Arrow's. And what stands when the days begin is no garbage, so that it need not be looked through for any.
    """
    gc.freeze()
    try:
        with pd.option_context("mode.string_storage", "python"):
            yield
    finally:
        gc.unfreeze()


def _expect_days(source: SourceDescription, first: pd.Timestamp, last: pd.Timestamp) -> None:
    begins, ends = source.event_quarters[0].start, source.quarters[-1].end
    if first > last:
        raise ReplayError(f"{first:%Y-%m-%d} comes after {last:%Y-%m-%d}. Remedy: begin with the earlier day.")
    if not begins <= first <= last <= ends:
        raise ReplayError(
            f"{first:%Y-%m-%d} to {last:%Y-%m-%d} cannot be replayed: `{source.name}` has days from {begins:%Y-%m-%d} "
            f"to {ends:%Y-%m-%d}. Remedy: choose days among them."
        )


def _live(day: pd.Timestamp, production: Production) -> dict[str, Any]:
    """Live a day; nothing is drawn, and the data is there already."""
    daily.predict(day, production)
    daily.choose_stocks(day, production)
    drift = daily.detect_drift(day, production, page=False)
    daily.collect_results(day, production)
    daily.check_quality(day, production)
    metrics = daily.measure(day, production)
    daily.decide(day, production)
    serving = deployments.champion(production.ledger)
    return {
        "day": day,
        "champion": None if serving is None else serving.version,
        **_told(metrics, "auc", "labelled"),
        **_told(drift, "psi", "features_drifted", "mean_distance"),
    }


def _told(record: DayRecord, *names: str) -> dict[str, float]:
    return {name: record.figures.get(name, np.nan) for name in names}


def _retrain(day: pd.Timestamp, production: Production, request: RetrainRequest) -> tuple[Any, ...]:
    """Make the retrain that is due after a day; a failure ends the replay, since nobody could say what it hides."""
    started = retrain_requests.start(production.ledger, request.id, request.next_attempt, _RUN, Hour.CHALLENGE.of(day))
    model = daily.retrain(day, production, started)
    verdict = daily.challenge(day, production, started, model)
    return day, request.cause, getattr(model, "version", None), str(verdict)


def _decisions(ledger: Ledger) -> pd.DataFrame:
    found = decisions.read(ledger)
    found["day"] = found["day"].dt.strftime("%Y-%m-%d")
    return found[list(DECISION_COLUMNS)]


def _with_results(retrains: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
    """Add what each retrain came to."""
    promoted = set(decisions.read(ledger, kind=DecisionKind.PROMOTION)["subject"])
    waiting = {deployed.version for deployed in deployments.challengers(ledger)}
    version = retrains["version"]
    came_to = np.select([version.isin(promoted), version.isin(waiting)], ["promoted", "in shadow"], "nothing")
    return retrains.assign(came_to=came_to)


def _score(production: Production, last: pd.Timestamp) -> tuple[pd.DataFrame, Score]:
    """Judge what was served, of what was known when the last day ended."""
    lake, source, now = production.lake, production.source, last.tz_localize("UTC") + _DAY
    began = source.quarters[0].start.tz_localize("UTC")
    told = outcomes.read(production.ledger, began, now, known_at=now, as_announced=True)
    told = told[told["served"] & told["predicted_probability"].notna() & (told["model_version"] != predictions.RULE)]
    told = told.drop_duplicates("event", keep="last").reset_index(drop=True)
    base_rates = {version: float(metadata_of(lake, version)["base_rate"]) for version in told["model_version"].unique()}
    quarters = [q for q in source.quarters if q.start <= last and lake.has("earnings", q)]
    told = told.assign(
        company=companies_of(told["symbol"], Announced.of(lake, quarters).share_classes(now)),
        base_rate=told["model_version"].map(base_rates).astype("float64"),
    ).rename(columns={"predicted_probability": "probability", "actual_class": "label"})
    limit = limits(told["as_of"], told["as_of"], told[["probability"]].to_numpy("float64"))[:, 0]
    top = top_decile(
        told["label"],
        (told["probability"] > limit).to_numpy(),
        ~np.isnan(limit),
        Resamples.draw(told["company"], seed=0),
    )
    rows = told[told["label"].notna()].reset_index(drop=True)
    found = figures(
        rows["label"], rows["probability"], rows["threshold"], rows["company"], known_base_rate=rows["base_rate"]
    )
    score = Score(
        served=len(told),
        labelled=len(rows),
        base_rate=found["base_rate"],
        auc=found["auc"],
        brier_skill=found["brier_skill"],
        precision=top.precision,
        lift=top.lift,
    )
    return rows[["event", "company", "label", "probability", "threshold", "base_rate"]], score
