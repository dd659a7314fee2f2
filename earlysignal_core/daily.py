"""One page: each step of a production day as a function of (day, lake, ledger).

A step acts at a moment of its own day, whatever the clock shows meanwhile, so that days that were missed are lived
later as they would have been, and years of history can be lived again through the same code. Repeating a step is safe.
What a step computes lives in the rooms below; here stands what it reads, what it records and in which order.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import pandas as pd

from earlysignal_core.datasets.cutoff import Day
from earlysignal_core.datasets.gather import FEATURES, LABELS, gather_dataset
from earlysignal_core.errors import EarlySignalError, LakeError, SourceError, TableError
from earlysignal_core.features.table import active_features
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import days, decisions, deployments, retrain_requests
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.deployments import Deployment
from earlysignal_core.ledger.retrain_requests import RetrainRequest
from earlysignal_core.ledger.vocabulary import DecisionKind
from earlysignal_core.models.bundle import Bundle, NoModelYet
from earlysignal_core.models.hyperparameters import ensemble_of
from earlysignal_core.models.training import train_and_save
from earlysignal_core.monitoring import announcements, retrain_policy, served
from earlysignal_core.monitoring.daily_records import (
    DRIFT,
    METRICS,
    QUALITY,
    drift_record,
    metrics_record,
    quality_record,
)
from earlysignal_core.monitoring.day_record import DayRecord, merged, verdict_rows
from earlysignal_core.monitoring.outcomes import Collected, collect_outcomes
from earlysignal_core.monitoring.reference import keep_reference
from earlysignal_core.monitoring.retrain_policy import Cause, calendar_figures
from earlysignal_core.production import Hour, Production
from earlysignal_core.quarterly import collect, collect_universe, make_feature_table, make_labels
from earlysignal_core.quarters import Quarter
from earlysignal_core.serving import challengers, judging, ramping, trials
from earlysignal_core.serving.predicting import (
    Parity,
    announced_already,
    answer_and_record,
    answered_between,
    compare_with_tables,
    rank_and_explain,
    served_between,
)
from earlysignal_core.sources import Source, SourceDescription
from earlysignal_core.tables import CACHES, TABLES, UNIVERSE

EARNINGS, SELECTION, DECISION = "earnings", "stock_selection", "retrain_decision"
_ONE_DAY = pd.Timedelta(days=1)
_STILL_COMES = 30  # days: results arrive late


class DayError(EarlySignalError):
    """A day that cannot be lived now."""


class _FinishedMeanwhileError(Exception):
    """Another has finished the day: what was decided is read back."""


@dataclass(frozen=True)
class Refreshed:
    """What a day has collected.

    Attributes
    ----------
    written : dict of str to list of Quarter
        By asset.
    failed : dict of str to EarlySignalError
        By cache. What stood there before stands.
    """

    written: dict[str, list[Quarter]]
    failed: dict[str, EarlySignalError]


def refresh(day: pd.Timestamp, production: Production, source: Source) -> Refreshed:
    """Collect what the lake lacks and, of a source that grows, what may still come; then the labels and features.

    Where one provider fails the others' caches are collected all the same, and an alert tells of it.

    Raises
    ------
    EarlySignalError
        If the announcements cannot be collected, or a source that does not grow cannot be read.
    """
    lake, ledger, described = production.lake, production.ledger, source.description
    written: dict[str, list[Quarter]] = {}
    failed: dict[str, EarlySignalError] = {}
    collect_universe(source, lake)
    for cache in (cache for cache in CACHES if cache != UNIVERSE):
        tables = [table for table in CACHES[cache] if table in described.tables]
        late = max((TABLES[table].late for table in tables), default=0)
        quarters = _wanted(day, lake, described, described.quarters, tables, late)
        try:
            written[cache] = list(collect(source, lake, cache, quarters))
        except (SourceError, TableError) as error:
            if cache == EARNINGS or not described.grows:
                raise
            failed[cache] = error
            announcements.of_cache(ledger, cache, error, Hour.REFRESH.of(day))
    for table, make in ((LABELS, make_labels), (FEATURES, make_feature_table)):
        written[table] = _wanted(day, lake, described, described.event_quarters, [table], _STILL_COMES)
        for quarter in written[table]:
            make(quarter, lake)
    return Refreshed({asset: quarters for asset, quarters in written.items() if quarters}, failed)


def _wanted(
    day: pd.Timestamp,
    lake: Lake,
    described: SourceDescription,
    quarters: list[Quarter],
    tables: list[str],
    late: int,
) -> list[Quarter]:
    """Return the quarters that the lake lacks and, of a source that grows, those of which rows may still come."""
    last = Quarter.of(day + 14 * _ONE_DAY)  # dates lie ahead
    growing = set(Quarter.range(Quarter.of(day - late * _ONE_DAY), last)) if described.grows else set()
    held = [set(lake.quarters(table)) for table in tables]
    return [q for q in quarters if q <= last and (q in growing or not all(q in each for each in held))]


@dataclass(frozen=True)
class Predicted:
    """The predictions of a day.

    Attributes
    ----------
    day : Timestamp
    ledger : Ledger
    champion : str or None
        The model that was asked; None before the first promotion, and then nothing is predicted.
    missed : DataFrame
        Examples whose announcement had come when the day was lived late: they are not predicted.
    rolled_back_to : str or None
        The model that took over from a champion that failed.
    """

    day: pd.Timestamp
    ledger: Ledger
    champion: str | None
    missed: pd.DataFrame
    rolled_back_to: str | None = None

    @cached_property
    def rows(self) -> pd.DataFrame:
        """What was served, as of `ledger.predictions.read` with features; read when it is asked for."""
        return _served(self.day, self.ledger)


def predict(day: pd.Timestamp, production: Production, now: pd.Timestamp | None = None) -> Predicted:
    """Predict all announcements whose `as_of` has passed since the day before; of a finished day, read them back.

    Parameters
    ----------
    day : Timestamp
    production : Production
    now : Timestamp, optional
        When it is really made (UTC), where that is later than the day's own moment.

    Raises
    ------
    DayError
        If a day before it is not finished.
    """
    lake, ledger, source = production.lake, production.ledger, production.source
    last = Hour.PREDICT.of(day)
    first, at = last - _ONE_DAY, last if now is None else max(last, now)
    champion = deployments.champion(ledger)
    version = None if champion is None else champion.version
    missed, back = pd.DataFrame(), None
    if not production.is_finished(day):
        _refuse_out_of_order(day, ledger)
        examples = production.scheduled(first + pd.Timedelta(1, "ns"), last)
        missed = announced_already(lake, source, examples, at)
        examples = examples[~examples["event"].isin(missed["event"])].reset_index(drop=True)
        if champion is not None and len(examples):
            back = _answer(day, production, examples, at)
    return Predicted(day, ledger, version, missed, None if back is None else back.version)


def _served(day: pd.Timestamp, ledger: Ledger) -> pd.DataFrame:
    last = Hour.PREDICT.of(day)
    return served_between(ledger, last - _ONE_DAY, last)


def _answer(
    day: pd.Timestamp, production: Production, examples: pd.DataFrame, at: pd.Timestamp
) -> deployments.Deployment | None:
    """Answer for what has no answer yet: of two that live a day, at once or after each other, the second asks less."""
    last, serving = Hour.PREDICT.of(day), production.settings.serving
    with production.ledger.transaction() as joined:
        days.alone(joined, day)
        answered = answered_between(joined, last - _ONE_DAY, last)
        examples = examples[~examples["event"].isin(answered)].reset_index(drop=True)
        if examples.empty:
            return None
        return answer_and_record(
            joined,
            production.lake,
            production.source,
            production.models,
            examples,
            at,
            serving,
            features_ahead=production.features_ahead,
            timer=_still if production.is_lived_again else perf_counter,
        )


def _still() -> float:
    """Return the time of a clock that stands."""
    return 0.0


def choose_stocks(day: pd.Timestamp, production: Production) -> pd.DataFrame:
    """Rank what was served on a day, select the top 10 %, and say why (`serving.predicting.rank_and_explain`)."""
    rows = _served(day, production.ledger)
    chosen = rank_and_explain(production.ledger, production.models, rows, Hour.PREDICT.of(day))
    production.lake.write(SELECTION, day.date(), chosen)
    return chosen


def compare_with_feature_tables(day: pd.Timestamp, production: Production) -> Parity:
    """Compare what was served in the last 30 days with the feature tables as they are now."""
    lake, at = production.lake, Hour.PREDICT.of(day)
    rows = served_between(production.ledger, at - 30 * _ONE_DAY, at)
    around = Quarter.range(Quarter.of(day) - 1, Quarter.of(day) + 1)
    near = [quarter for quarter in around if lake.has(FEATURES, quarter)]
    if not near:  # prices may go on long after the last announcement
        return Parity(0, len(rows), {})
    return compare_with_tables(rows, lake.read(FEATURES, near), list(active_features(production.source)))


def detect_drift(day: pd.Timestamp, production: Production, *, page: bool = True) -> DayRecord:
    """Say how far the world has moved away from what the champion was trained on."""
    if production.is_finished(day):
        return DayRecord.load(production.lake, DRIFT, day, tables=True)
    _refuse_out_of_order(day, production.ledger)
    bundle, settings = production.champion(), production.settings
    record = DayRecord(DRIFT, day)
    if bundle is not None:
        at = Hour.DRIFT.of(day)
        record = drift_record(production.ledger, production.lake, bundle, at, strict=settings.strict_rules, page=page)
    record.save(production.lake)
    return record


def collect_results(day: pd.Timestamp, production: Production) -> Collected:
    """Record what has become of the predictions since the last look, however long ago that was."""
    _refuse_out_of_order(day, production.ledger)
    return collect_outcomes(production.ledger, production.lake, production.source, Hour.OUTCOMES.of(day))


def check_quality(day: pd.Timestamp, production: Production) -> DayRecord:
    """Say whether what arrives live is still what the champion knows."""
    if production.is_finished(day):
        return DayRecord.load(production.lake, QUALITY, day, tables=True)
    _refuse_out_of_order(day, production.ledger)
    bundle = production.champion()
    record = DayRecord(QUALITY, day)
    if bundle is not None:
        at, source = Hour.MEASURE.of(day), production.source
        record = quality_record(production.ledger, production.lake, source, bundle, at, production.settings)
    record.save(production.lake)
    return record


def measure(day: pd.Timestamp, production: Production) -> DayRecord:
    """Measure how production does."""
    if production.is_finished(day):
        return DayRecord.load(production.lake, METRICS, day, tables=True)
    _refuse_out_of_order(day, production.ledger)
    lake, ledger, bundle = production.lake, production.ledger, production.champion()
    record = DayRecord(METRICS, day)
    if bundle is not None:
        at, source = Hour.MEASURE.of(day), production.source
        calendar = _calendar(day, production)
        drift = DayRecord.load(lake, DRIFT, day)
        record = metrics_record(ledger, lake, source, bundle, at, calendar, drift, production.settings)
    record.save(lake)
    return record


@dataclass(frozen=True)
class Decided:
    """What a day has decided, read when it is asked for.

    Attributes
    ----------
    day : Timestamp
    lake : Lake
    ledger : Ledger
    """

    day: pd.Timestamp
    lake: Lake
    ledger: Ledger

    @property
    def decisions(self) -> pd.DataFrame:
        """The decisions, as of `ledger.decisions.read`."""
        at = Hour.DECIDE.of(self.day)
        return decisions.read(self.ledger, since=at - pd.Timedelta(1, "us"), until=at)

    @property
    def lines(self) -> pd.DataFrame:
        """Every line of the tree with its verdict, as of `monitoring.day_record.verdict_rows`."""
        return DayRecord.load(self.lake, DECISION, self.day).verdicts


def decide(day: pd.Timestamp, production: Production) -> Decided:
    """Walk down the tree, judge who waits in shadow or is tested, look at the ramp, tell whom it concerns, and finish.

    All of it, or nothing.

    Of a finished day, what was decided stands.
    """
    lake, ledger, at = production.lake, production.ledger, Hour.DECIDE.of(day)
    if not production.is_finished(day):
        _refuse_out_of_order(day, ledger)
        records = [DayRecord.load(lake, monitor, day) for monitor in (DRIFT, METRICS, QUALITY)]
        calendar = _calendar(day, production)
        figures = {**merged(records), **calendar, **served.retrain_figures(ledger, day).figures}
        champion = deployments.champion(ledger)
        is_lost = champion is not None and production.champion() is None
        figures["champions"] = float(champion is not None and not is_lost)
        strict, causes = production.settings.strict_rules, production.causes
        found = retrain_policy.decide(day, figures, strict=strict, causes=causes)
        DayRecord(DECISION, day, figures, verdict_rows(found.verdicts)).save(lake)
        judgements = _of_those_in_shadow(production, at) if calendar["first_session_of_week"] else []
        ended = trials.ending(ledger, lake, production.source, production.settings.promotion, at)
        with suppress(_FinishedMeanwhileError), ledger.transaction() as joined:
            if not days.finish_day(joined, day, at):
                raise _FinishedMeanwhileError
            _carry_on(joined, ended, deployments.not_before_what_is_deployed(joined, at))
            for judgement in _against_the_champion(joined, judgements):
                judged_at = deployments.not_before_what_is_deployed(joined, at)
                kind, reason = challengers.carry_out(joined, judgement, judged_at)
                announcements.of_challenger(joined, judgement.version, kind, reason, judged_at)
            asked = retrain_policy.ask(joined, day, found, figures, production.source.universe, at)
            announcements.of_decision(joined, found, asked, at)
            for record in records:
                announcements.of_limits(joined, record, _day_before(lake, record, champion), at)
            if champion is not None and is_lost:
                announcements.of_lost_champion(joined, champion.version, at)
    return Decided(day, lake, ledger)


def retrain(day: pd.Timestamp, production: Production, request: RetrainRequest) -> Bundle | NoModelYet:
    """Train the challenger of a day on what was known when it began, and walk its recipe forward."""
    lake, source, at = production.lake, production.source, Hour.CHALLENGE.of(day)
    recipe = production.recipe(request.window_months)
    dataset = gather_dataset(lake, source, Day(day), recipe)
    model = train_and_save(lake, dataset, ensemble_of(lake, recipe, Day(day)))
    if isinstance(model, Bundle):
        keep_reference(lake, model, dataset.frame)
        champion = deployments.champion(production.ledger)
        if champion is not None and champion.version != model.version:
            version, since = str(model.version), champion.since
            judging.walk_forward(
                lake, source, recipe, version, champion.version, at, otherwise=since, refits=production.refits
            )
    return model


def challenge(
    day: pd.Timestamp, production: Production, request: RetrainRequest, model: Bundle | NoModelYet
) -> DecisionKind:
    """Hold the challenger against the champion, do what the rules say, and close the request: all of it, or nothing."""
    ledger = production.ledger
    at = max(deployments.not_before_what_is_deployed(ledger, Hour.CHALLENGE.of(day)), request.requested_at)
    reason = f"{request.cause} (retrain request {request.id})"
    ended = served.season_end_of(production.lake, production.source, at) if request.cause == Cause.SEASON else None
    season = None if ended is None else Quarter.of(ended)
    with ledger.transaction() as joined:
        # Alone with the request, and refused where it is closed: of two runs that come here one goes on.
        retrain_requests.start(joined, request.id, request.attempts, str(request.run_id), at)
        kind, said = challengers.place(
            joined, production.lake, production.source, production.settings, model, reason, at, season=season
        )
        version = model.version if isinstance(model, Bundle) else None
        announcements.of_challenger(joined, version, kind, said, at)
        retrain_requests.finish(joined, request.id, request.attempts, at)
    return kind


def _calendar(day: pd.Timestamp, production: Production) -> dict[str, float]:
    ended = served.season_end_of(production.lake, production.source, Hour.OUTCOMES.of(day))
    return calendar_figures(day, ended, served.retrain_figures(production.ledger, day).last_season_retrain)


def _day_before(lake: Lake, record: DayRecord, champion: Deployment | None) -> DayRecord | None:
    """Return what a monitor said the day before, unless that was of another champion, or nothing."""
    day = record.day - _ONE_DAY
    if record.fired.empty or champion is None or champion.since >= Hour.DRIFT.of(day):
        return None
    with suppress(LakeError):
        return DayRecord.load(lake, record.monitor, day)
    return None


def _carry_on(ledger: Ledger, ended: trials.Ended | None, at: pd.Timestamp) -> None:
    """End the test that is judged, begin the one that waited for that, do what the ramp asks for, and tell of it."""
    made: list[decisions.Decision | None] = []
    if ended is not None:
        trials.close(ledger, ended, at)
        made.append(ended.decision)
    made += [challengers.begin_waiting_test(ledger, at), ramping.act(ledger, at)]
    for decision in made:
        if decision is not None:
            announcements.of_challenger(ledger, decision.subject, decision.kind, decision.cause, at)


def _against_the_champion(
    ledger: Ledger, judgements: list[judging.Judgement | judging.NotJudged]
) -> list[judging.Judgement | judging.NotJudged]:
    """Leave out what was judged against a champion that this day has replaced: they are judged anew in a week."""
    champion = deployments.champion(ledger)
    version = None if champion is None else champion.version
    return [each for each in judgements if isinstance(each, judging.NotJudged) or each.over == version]


def _of_those_in_shadow(production: Production, at: pd.Timestamp) -> list[judging.Judgement | judging.NotJudged]:
    ledger, lake, source, settings = production.ledger, production.lake, production.source, production.settings
    # A day that is made up for may lie before the beginning of what stands in shadow now.
    standing = [
        each
        for each in deployments.challengers(ledger)
        if each.since <= at and challengers.is_to_be_judged(ledger, each)
    ]
    return [judging.judged(ledger, lake, source, settings, each.version, at) for each in standing]


def _refuse_out_of_order(day: pd.Timestamp, ledger: Ledger) -> None:
    last, shown = days.last_finished(ledger), days.clock(ledger)
    if shown is not None and shown < Hour.CHALLENGE.of(day):
        raise DayError(
            f"{day:%Y-%m-%d} has not come: the clock shows {shown:%Y-%m-%d %H:%M} UTC, and a day is lived when its "
            f"{Hour.CHALLENGE:d}:00 has passed. Remedy: move the clock (`earlysignal clock`)."
        )
    if last is not None and day > last + _ONE_DAY:
        raise DayError(
            f"{day:%Y-%m-%d} cannot be lived yet: the last finished day is {last:%Y-%m-%d}. Remedy: live the days in "
            f"order; `earlysignal days --to {day:%Y-%m-%d}` does, and so does the day sensor."
        )
