"""Every rule has a slug, made from its title for the rules that are there already.

Revision ID: rulesdb_0003
Revises: rulesdb_0002
"""

import sqlalchemy as sa
from alembic import op

revision = "rulesdb_0003"
down_revision = "rulesdb_0002"
branch_labels = None
depends_on = None

# collation "C": in some languages the small form of I is not i
FILL_SLUGS = """
UPDATE rules
   SET slug = coalesce(
       nullif(
           lower(btrim(regexp_replace(title, '[^a-zA-Z0-9]+', '-', 'g'), '-') COLLATE "C"),
           ''
       ),
       'rule'
   )
"""


def upgrade() -> None:
    """Add the column empty, fill it, and only then require it: old rows would fail otherwise."""
    op.add_column("rules", sa.Column("slug", sa.Text, nullable=True))
    op.execute(FILL_SLUGS)
    op.alter_column("rules", "slug", nullable=False)
    op.create_check_constraint("rules_slug_form", "rules", "slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'")
    op.create_index("rules_project_id_slug_idx", "rules", ["project_id", "slug"])


def downgrade() -> None:
    """Drop the column; titles, which it was made from, stay."""
    op.drop_column("rules", "slug")
