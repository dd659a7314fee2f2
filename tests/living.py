"""Production days in tests: one lived whole as a run lives it, and a ledger as rows that can be compared."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from ledgers import decision
from production import CHAMPION, PREVIOUS, copied
from sqlalchemy import select

from earlysignal_core import daily
from earlysignal_core.daily import Decided
from earlysignal_core.evaluation.forward import Recipe, walk_monthly
from earlysignal_core.features.table import active_features, scheduled_examples
from earlysignal_core.lake import Lake, RememberingLake
from earlysignal_core.ledger import days, deployments, predictions, retrain_requests
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.retrain_requests import RetrainRequest
from earlysignal_core.ledger.schema import metadata
from earlysignal_core.ledger.vocabulary import DecisionKind
from earlysignal_core.monitoring import retrain_policy
from earlysignal_core.monitoring.action import judge
from earlysignal_core.monitoring.daily_records import DRIFT, METRICS, QUALITY
from earlysignal_core.monitoring.day_record import DayRecord, verdict_rows
from earlysignal_core.monitoring.drift import PREDICTIONS_RULE
from earlysignal_core.production import Hour, Production, next_day
from earlysignal_core.quarterly import described
from earlysignal_core.settings import PromotionLimits, Settings

ONE_DAY = pd.Timedelta(days=1)
BEGAN = pd.Timestamp("2015-07-01", tz="UTC")
# Twenty events of sixty companies, where the real limits want two hundred of five hundred.
SMALL = Settings(promotion=PromotionLimits(min_events=20, min_large_beats=2))


def moment(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def begun(lake: Lake, folder: Path, ledger: Ledger, *champions: str, settings: Settings = SMALL) -> Production:
    """Production on a copy of a lake, after the promotion of some champions, one a month, the last one serving."""
    over = None
    for month, version in enumerate(champions or (PREVIOUS, CHAMPION)):
        promoted = decision(DecisionKind.PROMOTION, BEGAN + month * 30 * ONE_DAY, figures={})
        deployments.promote(ledger, version, promoted, over=over)
        over = version
    return Production(RememberingLake(copied(lake, folder / "lake").url), ledger, settings)


def due_between(lake: Lake, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
    """The examples with ``first < as_of <= last``."""
    found = scheduled_examples(lake, described(lake), first, last)
    return found[found["as_of"] > first].reset_index(drop=True)


def live_day(day: pd.Timestamp, production: Production, now: pd.Timestamp | None = None) -> Decided:
    """Every step of a day but the refresh."""
    daily.predict(day, production, now)
    daily.choose_stocks(day, production)
    daily.detect_drift(day, production, page=False)
    daily.collect_results(day, production)
    daily.check_quality(day, production)
    daily.measure(day, production)
    return daily.decide(day, production)


def decide_on(
    day: str, production: Production, figures: dict[str, float] | None = None, *records: DayRecord
) -> Decided:
    """Decide on what the monitors are made to have said; the days before are finished without anything else."""
    at = pd.Timestamp(day)
    last = days.last_finished(production.ledger)
    for skipped in pd.date_range(at - ONE_DAY if last is None else last + ONE_DAY, at - ONE_DAY):
        days.finish_day(production.ledger, skipped, Hour.DECIDE.of(skipped))
    made = {record.monitor: record for record in records}
    for monitor in (DRIFT, METRICS, QUALITY):
        said = figures or {} if monitor == METRICS else {}
        made.get(monitor, DayRecord(monitor, at, said)).save(production.lake)
    return daily.decide(at, production)


def broken(day: pd.Timestamp) -> DayRecord:
    """A day's drift, with the limit of the predictions broken."""
    figures = {"psi": 0.5, "psi_above_chance": 0.3, "psi_above_usual": 0.3}
    return DayRecord(DRIFT, day, figures, verdict_rows(judge((PREDICTIONS_RULE,), figures)))


def served(production: Production, first: str, last: str) -> None:
    """Let the champion, and in shadow the challengers, have said of a stretch of events what they say of its rows.

    What is served is the feature table bit for bit, so its rows stand for months of days.
    """
    lake, ledger, names = production.lake, production.ledger, list(active_features(production.source))
    quarters = [q for q in production.source.event_quarters if lake.has("feature_table", q)]
    rows = lake.read("feature_table", quarters)
    rows = rows[(rows["as_of"] > moment(first)) & (rows["as_of"] <= moment(last))].reset_index(drop=True)
    standing = [deployments.champion(ledger), *deployments.challengers(ledger)]
    for version in [each.version for each in standing if each is not None]:
        model = production.models.get(version)
        probability = model.bundle.predict(rows)
        said = rows[["event", "symbol", "as_of"]].assign(
            announced_on=rows["scheduled_on"],
            prediction_date=rows["as_of"].dt.ceil("D") + pd.Timedelta(hours=2),
            model_version=version,
            predicted_probability=probability,
            predicted_class=(probability >= model.bundle.threshold).astype(int),
            threshold=model.bundle.threshold,
            served=version == standing[0].version if standing[0] else False,
            arm=None,
            model_sha256=model.sha256,
            dataset_sha256=None,
            confidence_level="LOW",
        )
        predictions.record_frame(ledger, said, rows[names])


def nothing_scored(lake: Lake) -> bytes:
    """The forward scores of a challenger that has none."""
    source, sink = described(lake), io.BytesIO()
    at = moment("2015-10-01")
    walk_monthly(Recipe(), lake, source, at, at).to_parquet(sink, index=False)
    return sink.getvalue()


def files_of(lake: Lake) -> list[str]:
    """Every file of a lake."""
    root = Path(lake.url)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def started(production: Production, run: str = "run") -> RetrainRequest:
    """The retrain that is asked for, begun on the last finished day."""
    request, last = retrain_requests.in_flight(production.ledger), days.last_finished(production.ledger)
    assert request is not None
    assert last is not None
    at = Hour.CHALLENGE.of(last)
    return retrain_requests.start(production.ledger, request.id, request.next_attempt, run, at)


def retrain(production: Production) -> DecisionKind:
    """Make the retrain that is asked for."""
    request, last = started(production), days.last_finished(production.ledger)
    assert last is not None
    return daily.challenge(last, production, request, daily.retrain(last, production, request))


def tick(production: Production, now: pd.Timestamp, first: pd.Timestamp | None = None) -> pd.Timestamp | None:
    """Do all that is due at a moment: the retrains that come first, then the next day. Returns the day, if one was."""
    ledger = production.ledger
    request, last = retrain_requests.in_flight(ledger), days.last_finished(ledger)
    if request is not None and retrain_policy.may_start(request, last):
        retrain(production)
    day = first if last is None else next_day(ledger, production.source, now).day
    if day is not None:
        live_day(day, production)
    return day


def lived(production: Production, first: str, last: str, move: Callable[[pd.Timestamp], pd.Timestamp]) -> None:
    """Live some days on a tape; `move` says where the clock stands when a day is over."""
    end = pd.Timestamp(last) + ONE_DAY
    for day in pd.date_range(first, last):
        stands = min(max(move(day), day + ONE_DAY), end).tz_localize("UTC")
        if (days.clock(production.ledger) or stands) <= stands:
            days.move_clock(production.ledger, stands)
        while tick(production, days.clock(production.ledger) or stands, pd.Timestamp(first)) is not None:
            pass


def contents(ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """All that a ledger holds, without wall time; ids are told by their order, as those of what was undone are lost."""
    found, order = {}, {}
    with ledger.begin() as connection:
        for table in metadata.sorted_tables:
            key = [table.c["id"]] if "id" in table.c else list(table.primary_key)
            rows = [dict(row) for row in connection.execute(select(table).order_by(*key)).mappings()]
            order[table.name] = {row.get("id"): place for place, row in enumerate(rows)}
            to = {column.name: next(iter(column.foreign_keys)).column for column in table.c if column.foreign_keys}
            for row in rows:
                for name, target in to.items():
                    if target.name == "id":
                        row[name] = order.get(target.table.name, {}).get(row[name], row[name])
            if table.name == "ml_outcomes":  # what is recorded in one statement has no order
                rows.sort(key=lambda row: (row["prediction_id"], row["horizon"], row["revision"]))
            found[table.name] = [
                {name: _told(value) for name, value in row.items() if name not in ("id", "created_at", "latency_ms")}
                for row in rows
                if "latency" not in str(row.get("key"))
            ]
    return found


def _told(value: Any) -> Any:
    return re.sub(r"request \d+", "request", value) if isinstance(value, str) else value
