"""Memories carry how important they are, between 0 and 1.

Revision ID: memorydb_0003
Revises: memorydb_0002
"""

from alembic import op

revision = "memorydb_0003"
down_revision = "memorydb_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; memories that had an importance in their metadata keep that one."""
    op.execute(
        "ALTER TABLE memories ADD COLUMN importance real NOT NULL DEFAULT 0.5"
        " CONSTRAINT memories_importance_range CHECK (importance BETWEEN 0 AND 1)"
    )
    op.execute(
        """
        UPDATE memories
           SET importance = least(1, greatest(0, (metadata ->> 'importance')::numeric))
         WHERE jsonb_typeof(metadata -> 'importance') = 'number'
        """
    )


def downgrade() -> None:
    """Drop the column."""
    op.execute("ALTER TABLE memories DROP COLUMN importance")
