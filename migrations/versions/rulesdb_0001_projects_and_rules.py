"""Projects, their rules, and the severities a rule may have.

Revision ID: rulesdb_0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "rulesdb_0001"
down_revision = None
branch_labels = None
depends_on = None

SEVERITIES = (
    {"id": 1, "name": "hint", "weight": 1},
    {"id": 2, "name": "warning", "weight": 5},
    {"id": 3, "name": "error", "weight": 20},
    {"id": 4, "name": "critical", "weight": 100},
)


def upgrade() -> None:
    """Create the three tables; severities come filled, as every rule refers to one."""
    severities = op.create_table(
        "severities",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("weight", sa.Integer, nullable=False),
        sa.CheckConstraint("weight > 0", name="severities_weight_positive"),
    )
    op.bulk_insert(severities, [dict(severity) for severity in SEVERITIES])

    op.create_table(
        "projects",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column(
            "settings", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.CheckConstraint("name <> ''", name="projects_name_not_empty"),
        sa.CheckConstraint("jsonb_typeof(settings) = 'object'", name="projects_settings_object"),
    )

    # an Integer key without Identity is a serial column: both kinds of counter are in use
    op.create_table(
        "rules",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "project_id",
            sa.BigInteger,
            sa.ForeignKey("projects.id", name="rules_project_id_fkey"),
            nullable=False,
        ),
        sa.Column(
            "severity_id",
            sa.SmallInteger,
            sa.ForeignKey("severities.id", name="rules_severity_id_fkey"),
            nullable=False,
        ),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False, server_default=""),
        sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column(
            "definition", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
        sa.UniqueConstraint("project_id", "title", name="rules_project_id_title_key"),
        sa.CheckConstraint("length(title) BETWEEN 1 AND 200", name="rules_title_length"),
        sa.CheckConstraint("jsonb_typeof(definition) = 'object'", name="rules_definition_object"),
    )
    op.create_index("rules_severity_id_idx", "rules", ["severity_id"])


def downgrade() -> None:
    """Drop the tables, those that refer before those that are referred to."""
    op.drop_table("rules")
    op.drop_table("projects")
    op.drop_table("severities")
