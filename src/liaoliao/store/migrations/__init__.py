"""How a database gets to the schema: one file for each step in `versions`, run by Alembic through `env.py`.

A migration says in full what it does and imports nothing of the package: the code moves on, the migration stays.
"""
