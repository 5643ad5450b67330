"""Indexes for the nearest memories (cosine distance) and for searches in metadata.

Revision ID: memorydb_0002
Revises: memorydb_0001
"""

from alembic import op

revision = "memorydb_0002"
down_revision = "memorydb_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both indexes. HNSW, because it may be built before there are rows; IVFFlat may not."""
    op.execute(
        "CREATE INDEX memories_embedding_idx ON memories"
        " USING hnsw (embedding vector_cosine_ops) WITH (m = 16, ef_construction = 64)"
    )
    op.execute("CREATE INDEX memories_metadata_idx ON memories USING gin (metadata)")


def downgrade() -> None:
    """Drop both indexes."""
    op.execute("DROP INDEX memories_metadata_idx")
    op.execute("DROP INDEX memories_embedding_idx")
