"""The rows of the database as frozen dataclasses, one module an aggregate: all that is seen above the store."""
