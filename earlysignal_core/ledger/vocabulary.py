"""The words that the ledger's columns may hold; the database checks each of them."""

from enum import StrEnum


class Arm(StrEnum):
    """Which model an event was assigned to while two share the answers, in an A/B test or on a ramp."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"


class Confidence(StrEnum):
    """How far a prediction can be relied on."""

    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


class Fallback(StrEnum):
    """What answered a request: the model itself, or which of the fallbacks."""

    NONE = "none"
    PREVIOUS_VERSION = "previous_version"
    RULE = "rule"
    NO_ANSWER = "no_answer"


class Horizon(StrEnum):
    """What an outcome tells: the announcement's label, or the return after so many days."""

    LABEL = "label"
    DAYS_7 = "7d"
    DAYS_30 = "30d"


class OutcomeStatus(StrEnum):
    """How an outcome came about; `RESTATED` is given by the ledger to an observation that replaces another one."""

    OBSERVED = "observed"
    NO_EVENT = "no_event"
    DELISTED = "delisted"
    RESTATED = "restated"


class Role(StrEnum):
    """What a deployed model does: the champion serves, a challenger scores in shadow or takes a share of traffic."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"


class DecisionKind(StrEnum):
    """What was decided."""

    RETRAIN = "retrain"
    NO_RETRAIN = "no_retrain"
    PROMOTION = "promotion"
    REFUSAL = "refusal"
    UNDECIDED = "undecided"
    AB_TEST = "ab_test"
    RAMP = "ramp"
    SHADOW = "shadow"
    RETIREMENT = "retirement"
    ROLL_BACK = "roll_back"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"


class Urgency(StrEnum):
    """When a retrain is due: at once, or on the weekend."""

    EMERGENCY = "emergency"
    SCHEDULED = "scheduled"


class RetrainState(StrEnum):
    """Where a retrain request stands: pending → started → done, or failed; superseded by a more urgent one."""

    PENDING = "pending"
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class Severity(StrEnum):
    """How much an alert matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class ABTestStatus(StrEnum):
    """Where an A/B test stands: completed by its judge, or rolled back because one of its models went before."""

    RUNNING = "running"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"


class JudgedBy(StrEnum):
    """Which figure decides an A/B test: the one for whose sake it was begun."""

    AUC = "auc"
    ACCURACY = "accuracy"
