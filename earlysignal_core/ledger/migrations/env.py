"""What alembic runs around the steps: in the connection, transaction and schema that it is given."""

from alembic import context

given = context.config.attributes
context.configure(connection=given["connection"], version_table_schema=given["schema"])
with context.begin_transaction():
    context.run_migrations()
