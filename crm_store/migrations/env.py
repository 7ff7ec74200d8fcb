"""What Alembic runs: the connection and its transaction are the caller's (see the package)."""

from alembic import context

from crm_store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter a column: the table is rebuilt
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
