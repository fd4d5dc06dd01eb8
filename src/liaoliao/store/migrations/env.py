"""What Alembic runs to migrate: on the connection, and in the transaction, that `liaoliao.store.migrate` gives it.

    config.attributes["connection"]  ->  the migrations run there

This file does its work when it is loaded: that is how Alembic asks for it.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
