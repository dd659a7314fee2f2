"""The ledger's tables, as the newest migration leaves them; what may be in them is checked by the database.

The tables have no schema of their own: the connection's search path chooses it, so that a replay can have a ledger
beside the live one. `created_at` is the only column that holds wall time; nothing computes with it. Triggers (in the
migrations) refuse every change of predictions, outcomes, requests and decisions, and every deletion of a row of the
other tables.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import SchemaItem

from earlysignal_core.ledger.vocabulary import (
    ABTestStatus,
    Arm,
    Confidence,
    Fallback,
    Horizon,
    JudgedBy,
    OutcomeStatus,
    RetrainState,
    Role,
    Severity,
    Urgency,
)

metadata = MetaData()
_moment = DateTime(timezone=True)
_IN_FLIGHT = "state IN ('pending', 'started')"


def _table(name: str, *items: SchemaItem) -> Table:
    identity = Column("id", BigInteger, Identity(always=True), primary_key=True)
    return Table(name, metadata, identity, *items, _created_at())


def _created_at() -> Column[datetime]:
    return Column("created_at", _moment, nullable=False, server_default=func.now())


def _one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_is_known")


decisions = _table(
    "decisions",
    Column("at", _moment, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text),
    Column("rule", Text),
    Column("figures", JSONB, nullable=False),
    Column("raw", Text),
    Column("effective", Text),
    Column("cause", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
)

ml_predictions = _table(
    "ml_predictions",
    Column("prediction_date", _moment, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("announced_on", Date, nullable=False),
    Column("as_of", _moment, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("model_sha256", Text),
    Column("dataset_sha256", Text),
    Column("arm", Text),
    Column("served", Boolean, nullable=False),
    Column("predicted_class", Integer),
    Column("predicted_probability", Double),
    Column("threshold", Double),
    Column("confidence_level", Text),
    Column("features", JSONB, nullable=False),
    UniqueConstraint("event", "model_version", "as_of", name="one_prediction"),
    CheckConstraint("predicted_class IN (0, 1)", name="class_is_0_or_1"),
    CheckConstraint("predicted_probability BETWEEN 0 AND 1", name="probability_is_in_0_1"),
    CheckConstraint("(predicted_class IS NULL) = (predicted_probability IS NULL)", name="class_goes_with_probability"),
    CheckConstraint(
        "threshold IS NULL OR (predicted_class = 1) = (predicted_probability >= threshold)", name="class_by_threshold"
    ),
    _one_of("arm", Arm),
    _one_of("confidence_level", Confidence),
    Index("idx_symbol_date", "symbol", "prediction_date"),
    Index("idx_model_version", "model_version"),
    Index("idx_prediction_date", "prediction_date"),
)

ml_outcomes = _table(
    "ml_outcomes",
    Column("prediction_id", ForeignKey(ml_predictions.c.id), nullable=False),
    Column("symbol", Text, nullable=False),
    Column("prediction_date", _moment, nullable=False),
    Column("horizon", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("outcome_date", _moment, nullable=False),
    Column("actual_class", Integer),
    Column("actual_return_7d", Double),
    Column("actual_return_30d", Double),
    Column("earnings_surprise_pct", Double),
    Column("correct_prediction", Boolean),
    UniqueConstraint("prediction_id", "horizon", "revision", name="one_outcome"),
    CheckConstraint("actual_class IN (0, 1)", name="class_is_0_or_1"),
    CheckConstraint("status <> 'no_event' OR actual_class IS NULL", name="no_event_is_no_class"),
    CheckConstraint(
        "(horizon = 'label' OR (actual_class IS NULL AND earnings_surprise_pct IS NULL))"
        " AND (horizon = '7d' OR actual_return_7d IS NULL) AND (horizon = '30d' OR actual_return_30d IS NULL)",
        name="figures_of_the_horizon",
    ),
    _one_of("horizon", Horizon),
    _one_of("status", OutcomeStatus),
    Index("idx_prediction_id", "prediction_id"),
    Index("idx_symbol_outcome_date", "symbol", "outcome_date"),
)

prediction_requests = _table(
    "prediction_requests",
    Column("requested_at", _moment, nullable=False, index=True),
    Column("symbol", Text, nullable=False),
    Column("announced_on", Date),
    Column("as_of", _moment),
    Column("event", Text),
    Column("model_version", Text),
    Column("fallback", Text, nullable=False),
    Column("latency_ms", Double, nullable=False),
    Column("error", Text),
    _one_of("fallback", Fallback),
    _one_of("arm", Arm),
)
prediction_requests.append_column(Column("arm", Text))

deployments = _table(
    "deployments",
    Column("role", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("traffic_share", Integer, nullable=False),
    Column("since", _moment, nullable=False),
    Column("until", _moment),
    Column("decided_by", ForeignKey(decisions.c.id), nullable=False),
    Column("ended_by", ForeignKey(decisions.c.id)),
    Column("predecessor", ForeignKey("deployments.id")),
    CheckConstraint("traffic_share BETWEEN 0 AND 100", name="share_is_a_percentage"),
    CheckConstraint("until >= since", name="ends_after_it_began"),
    CheckConstraint("(until IS NULL) = (ended_by IS NULL)", name="ended_by_a_decision"),
    _one_of("role", Role),
    Index("one_champion", "role", unique=True, postgresql_where=text("until IS NULL AND role = 'champion'")),
    Index("one_open_deployment", "version", unique=True, postgresql_where=text("until IS NULL")),
)

ml_ab_tests = _table(
    "ml_ab_tests",
    Column("test_name", Text, nullable=False, unique=True),
    Column("champion_version", Text, nullable=False),
    Column("challenger_version", Text, nullable=False),
    Column("traffic_split", Integer, nullable=False),
    Column("start_date", _moment, nullable=False),
    Column("end_date", _moment),
    Column("status", Text, nullable=False),
    Column("champion_metrics", JSONB),
    Column("challenger_metrics", JSONB),
    Column("winner", Text),
    Column("decided_by", ForeignKey(decisions.c.id), nullable=False),
    Column("ended_by", ForeignKey(decisions.c.id)),
    CheckConstraint("assigned_until >= start_date", name="assigned_after_it_began"),
    CheckConstraint("traffic_split BETWEEN 0 AND 100", name="split_is_a_percentage"),
    CheckConstraint("(status = 'running') = (ended_by IS NULL)", name="ended_by_a_decision"),
    _one_of("status", ABTestStatus),
    _one_of("winner", Arm),
    _one_of("judged_by", JudgedBy),
    Index("one_running_test", "status", unique=True, postgresql_where=text("status = 'running'")),
)
# Columns that a later migration has added stand behind the others in the database, and so here.
ml_ab_tests.append_column(Column("assigned_until", _moment, nullable=False))
ml_ab_tests.append_column(Column("judged_by", Text, nullable=False))

retrain_requests = _table(
    "retrain_requests",
    Column("day", Date, nullable=False),
    Column("cause", Text, nullable=False),
    Column("urgency", Text, nullable=False),
    Column("universe", Text, nullable=False),
    Column("window_months", Integer),
    Column("state", Text, nullable=False, server_default=RetrainState.PENDING),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("run_id", Text),
    Column("requested_at", _moment, nullable=False),
    Column("started_at", _moment),
    Column("finished_at", _moment),
    Column("error", Text),
    Column("decided_by", ForeignKey(decisions.c.id), nullable=False),
    _one_of("urgency", Urgency),
    _one_of("state", RetrainState),
    CheckConstraint("state <> 'started' OR (run_id IS NOT NULL AND started_at IS NOT NULL)", name="started_by_a_run"),
    CheckConstraint("(state IN ('pending', 'started')) = (finished_at IS NULL)", name="finished_once_closed"),
    Index("one_retrain_in_flight", text(f"({_IN_FLIGHT})"), unique=True, postgresql_where=text(_IN_FLIGHT)),
)

alerts = _table(
    "alerts",
    Column("key", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("at", _moment, nullable=False),
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("rule", Text),
    Column("figures", JSONB, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("sent_at", _moment),
    Column("error", Text),
    UniqueConstraint("key", "day", name="one_alert_a_day"),
    _one_of("severity", Severity),
)

# Days are finished in order: each but the first stands on the day before it.
finished_days = Table(
    "finished_days",
    metadata,
    Column("day", Date, primary_key=True),
    Column("previous", ForeignKey("finished_days.day"), unique=True),
    Column("finished_at", _moment, nullable=False),
    _created_at(),
    CheckConstraint("previous = day - 1", name="in_order"),
    Index("one_first_day", text("(previous IS NULL)"), unique=True, postgresql_where=text("previous IS NULL")),
)

clock = Table(
    "clock",
    metadata,
    Column("single", Boolean, primary_key=True, server_default=text("true")),
    Column("now", _moment, nullable=False),
    _created_at(),
    CheckConstraint("single", name="one_clock"),
)
