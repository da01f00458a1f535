"""The database is the truth: schema, migrations, and transactions by aggregate."""
