"""How a challenger earns its place: until when a test assigns, what judges it, and whose a request was."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; tests that were recorded before, of which there can be none but by hand, get the usual ones."""
    op.execute(
        """
        ALTER TABLE ml_ab_tests ADD COLUMN assigned_until timestamptz;
        UPDATE ml_ab_tests SET assigned_until = start_date + interval '14 days';
        ALTER TABLE ml_ab_tests
            ALTER COLUMN assigned_until SET NOT NULL,
            ADD COLUMN judged_by text NOT NULL DEFAULT 'auc',
            ADD CONSTRAINT judged_by_is_known CHECK (judged_by IN ('auc', 'accuracy')),
            ADD CONSTRAINT assigned_after_it_began CHECK (assigned_until >= start_date);
        ALTER TABLE ml_ab_tests ALTER COLUMN judged_by DROP DEFAULT;
        ALTER TABLE prediction_requests
            ADD COLUMN arm text,
            ADD CONSTRAINT arm_is_known CHECK (arm IN ('champion', 'challenger'));
        """
    )


def downgrade() -> None:
    """Drop the columns."""
    op.execute(
        """
        ALTER TABLE ml_ab_tests DROP COLUMN assigned_until, DROP COLUMN judged_by;
        ALTER TABLE prediction_requests DROP COLUMN arm;
        """
    )
