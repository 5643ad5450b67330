"""Tags for rules (many to many), and an index to search rule definitions.

Revision ID: rulesdb_0002
Revises: rulesdb_0001
"""

import sqlalchemy as sa
from alembic import op

revision = "rulesdb_0002"
down_revision = "rulesdb_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tags and the table that joins them to rules."""
    op.create_table(
        "tags",
        sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.CheckConstraint("name <> '' AND name = lower(name)", name="tags_name_lower_case"),
    )
    op.create_table(
        "rule_tags",
        sa.Column(
            "rule_id",
            sa.Integer,
            sa.ForeignKey("rules.id", name="rule_tags_rule_id_fkey", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column(
            "tag_id",
            sa.Integer,
            sa.ForeignKey("tags.id", name="rule_tags_tag_id_fkey", ondelete="CASCADE"),
            primary_key=True,
        ),
    )
    # the primary key serves rule → tags, this index serves tag → rules
    op.create_index("rule_tags_tag_id_idx", "rule_tags", ["tag_id"])
    op.create_index("rules_definition_idx", "rules", ["definition"], postgresql_using="gin")


def downgrade() -> None:
    """Drop the tags; rules stay as they are."""
    op.drop_index("rules_definition_idx", "rules")
    op.drop_table("rule_tags")
    op.drop_table("tags")
