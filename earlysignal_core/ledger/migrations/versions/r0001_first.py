"""The first ledger: predictions and outcomes, deployments and decisions, requests, alerts, days."""

from alembic import op

revision = "0001"
down_revision = None

_TABLES = (
    """
    CREATE TABLE decisions (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL,
        kind text NOT NULL,
        subject text,
        rule text,
        figures jsonb NOT NULL,
        raw text,
        effective text,
        cause text NOT NULL,
        decided_by text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX ix_decisions_at ON decisions (at);
    """,
    # The features of a row are short of a page: kept beside it and uncompressed, they are written twice as fast.
    """
    CREATE TABLE ml_predictions (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        prediction_date timestamptz NOT NULL,
        symbol text NOT NULL,
        event text NOT NULL,
        announced_on date NOT NULL,
        as_of timestamptz NOT NULL,
        model_version text NOT NULL,
        model_sha256 text,
        dataset_sha256 text,
        arm text,
        served boolean NOT NULL,
        predicted_class integer,
        predicted_probability float8,
        threshold float8,
        confidence_level text,
        features jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT one_prediction UNIQUE (event, model_version, as_of),
        CONSTRAINT class_is_0_or_1 CHECK (predicted_class IN (0, 1)),
        CONSTRAINT probability_is_in_0_1 CHECK (predicted_probability BETWEEN 0 AND 1),
        CONSTRAINT class_goes_with_probability
            CHECK ((predicted_class IS NULL) = (predicted_probability IS NULL)),
        CONSTRAINT class_by_threshold
            CHECK (threshold IS NULL OR (predicted_class = 1) = (predicted_probability >= threshold)),
        CONSTRAINT arm_is_known CHECK (arm IN ('champion', 'challenger')),
        CONSTRAINT confidence_level_is_known CHECK (confidence_level IN ('HIGH', 'MEDIUM', 'LOW'))
    ) WITH (toast_tuple_target = 8160);
    CREATE INDEX idx_symbol_date ON ml_predictions (symbol, prediction_date);
    CREATE INDEX idx_model_version ON ml_predictions (model_version);
    CREATE INDEX idx_prediction_date ON ml_predictions (prediction_date);
    """,
    """
    CREATE TABLE ml_outcomes (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        prediction_id bigint NOT NULL REFERENCES ml_predictions,
        symbol text NOT NULL,
        prediction_date timestamptz NOT NULL,
        horizon text NOT NULL,
        revision integer NOT NULL,
        status text NOT NULL,
        outcome_date timestamptz NOT NULL,
        actual_class integer,
        actual_return_7d float8,
        actual_return_30d float8,
        earnings_surprise_pct float8,
        correct_prediction boolean,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT one_outcome UNIQUE (prediction_id, horizon, revision),
        CONSTRAINT class_is_0_or_1 CHECK (actual_class IN (0, 1)),
        CONSTRAINT no_event_is_no_class CHECK (status <> 'no_event' OR actual_class IS NULL),
        CONSTRAINT figures_of_the_horizon CHECK (
            (horizon = 'label' OR (actual_class IS NULL AND earnings_surprise_pct IS NULL))
            AND (horizon = '7d' OR actual_return_7d IS NULL) AND (horizon = '30d' OR actual_return_30d IS NULL)),
        CONSTRAINT horizon_is_known CHECK (horizon IN ('label', '7d', '30d')),
        CONSTRAINT status_is_known CHECK (status IN ('observed', 'no_event', 'delisted', 'restated'))
    );
    CREATE INDEX idx_prediction_id ON ml_outcomes (prediction_id);
    CREATE INDEX idx_symbol_outcome_date ON ml_outcomes (symbol, outcome_date);
    """,
    """
    CREATE TABLE prediction_requests (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        requested_at timestamptz NOT NULL,
        symbol text NOT NULL,
        announced_on date,
        as_of timestamptz,
        event text,
        model_version text,
        fallback text NOT NULL,
        latency_ms float8 NOT NULL,
        error text,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT fallback_is_known CHECK (fallback IN ('none', 'previous_version', 'rule', 'no_answer'))
    );
    CREATE INDEX ix_prediction_requests_requested_at ON prediction_requests (requested_at);
    """,
    """
    CREATE TABLE deployments (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        role text NOT NULL,
        version text NOT NULL,
        traffic_share integer NOT NULL,
        since timestamptz NOT NULL,
        until timestamptz,
        decided_by bigint NOT NULL REFERENCES decisions,
        ended_by bigint REFERENCES decisions,
        predecessor bigint REFERENCES deployments,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT share_is_a_percentage CHECK (traffic_share BETWEEN 0 AND 100),
        CONSTRAINT ends_after_it_began CHECK (until >= since),
        CONSTRAINT ended_by_a_decision CHECK ((until IS NULL) = (ended_by IS NULL)),
        CONSTRAINT role_is_known CHECK (role IN ('champion', 'challenger'))
    );
    CREATE UNIQUE INDEX one_champion ON deployments (role) WHERE until IS NULL AND role = 'champion';
    CREATE UNIQUE INDEX one_open_deployment ON deployments (version) WHERE until IS NULL;
    """,
    """
    CREATE TABLE ml_ab_tests (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        test_name text NOT NULL UNIQUE,
        champion_version text NOT NULL,
        challenger_version text NOT NULL,
        traffic_split integer NOT NULL,
        start_date timestamptz NOT NULL,
        end_date timestamptz,
        status text NOT NULL,
        champion_metrics jsonb,
        challenger_metrics jsonb,
        winner text,
        decided_by bigint NOT NULL REFERENCES decisions,
        ended_by bigint REFERENCES decisions,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT split_is_a_percentage CHECK (traffic_split BETWEEN 0 AND 100),
        CONSTRAINT ended_by_a_decision CHECK ((status = 'running') = (ended_by IS NULL)),
        CONSTRAINT status_is_known CHECK (status IN ('running', 'completed', 'rolled_back')),
        CONSTRAINT winner_is_known CHECK (winner IN ('champion', 'challenger'))
    );
    CREATE UNIQUE INDEX one_running_test ON ml_ab_tests (status) WHERE status = 'running';
    """,
    """
    CREATE TABLE retrain_requests (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        day date NOT NULL,
        cause text NOT NULL,
        urgency text NOT NULL,
        universe text NOT NULL,
        window_months integer,
        state text NOT NULL DEFAULT 'pending',
        attempts integer NOT NULL DEFAULT 0,
        run_id text,
        requested_at timestamptz NOT NULL,
        started_at timestamptz,
        finished_at timestamptz,
        error text,
        decided_by bigint NOT NULL REFERENCES decisions,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT urgency_is_known CHECK (urgency IN ('emergency', 'scheduled')),
        CONSTRAINT state_is_known CHECK (state IN ('pending', 'started', 'done', 'failed', 'superseded')),
        CONSTRAINT started_by_a_run
            CHECK (state <> 'started' OR (run_id IS NOT NULL AND started_at IS NOT NULL)),
        CONSTRAINT finished_once_closed CHECK ((state IN ('pending', 'started')) = (finished_at IS NULL))
    );
    CREATE UNIQUE INDEX one_retrain_in_flight ON retrain_requests ((state IN ('pending', 'started')))
        WHERE state IN ('pending', 'started');
    """,
    """
    CREATE TABLE alerts (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key text NOT NULL,
        day date NOT NULL,
        at timestamptz NOT NULL,
        severity text NOT NULL,
        title text NOT NULL,
        body text NOT NULL,
        rule text,
        figures jsonb NOT NULL,
        attempts integer NOT NULL DEFAULT 0,
        sent_at timestamptz,
        error text,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT one_alert_a_day UNIQUE (key, day),
        CONSTRAINT severity_is_known CHECK (severity IN ('info', 'warning', 'critical'))
    );
    """,
    """
    CREATE TABLE finished_days (
        day date PRIMARY KEY,
        previous date UNIQUE REFERENCES finished_days,
        finished_at timestamptz NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT in_order CHECK (previous = day - 1)
    );
    CREATE UNIQUE INDEX one_first_day ON finished_days ((previous IS NULL)) WHERE previous IS NULL;
    """,
    """
    CREATE TABLE clock (
        single boolean PRIMARY KEY DEFAULT true,
        now timestamptz NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT one_clock CHECK (single)
    );
    """,
)
_REFUSE = """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% on % is refused: the ledger keeps what is recorded', TG_OP, TG_TABLE_NAME;
    END $$
"""
_NEVER_CHANGED = ("decisions", "ml_predictions", "ml_outcomes", "prediction_requests")
_NEVER_DELETED = ("deployments", "ml_ab_tests", "retrain_requests", "alerts", "finished_days", "clock")


def upgrade() -> None:
    """Create everything."""
    for statements in _TABLES:
        op.execute(statements)
    op.execute(_REFUSE)
    for table in (*_NEVER_CHANGED, *_NEVER_DELETED):
        events = "DELETE OR TRUNCATE" + (" OR UPDATE" if table in _NEVER_CHANGED else "")
        op.execute(
            f"CREATE TRIGGER keep BEFORE {events} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    """Drop everything."""
    op.execute(f"DROP TABLE {', '.join((*_NEVER_CHANGED, *_NEVER_DELETED))}")
    op.execute("DROP FUNCTION refuse_change")
