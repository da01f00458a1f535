"""What is searched by words: the texts of segments and of whole media items, in the engine's own index."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import Column, Index, LargeBinary
from sqlalchemy.dialects.postgresql import TSVECTOR

from vvwatch.store.schema.columns import Integer, Text, metadata

SEARCH_TEXT: Final = """CREATE VIRTUAL TABLE IF NOT EXISTS search_text USING fts5 (
scope, title, words, content = '', tokenize = 'unicode61 remove_diacritics 2')"""
"""SQLite's index. It holds no texts, so a document is deleted by giving the same texts again.

Its row ids are made of item and ordinal, and `scope` is one word for the media's index (see `search_documents`).
"""

search_documents = sa.Table(
    "search_documents",
    metadata,
    Column("run_item_id", Integer, primary_key=True),
    Column("ordinal", Integer, primary_key=True),  # -1: the item as a whole
    Column("index_id", Text, nullable=False),
    Column("words", TSVECTOR, nullable=False),
)
"""PostgreSQL's index."""
Index("search_documents_words", search_documents.c.words, postgresql_using="gin")

# What a text means, by one model; made in the background, and only where a model is configured.
search_vectors = sa.Table(
    "search_vectors",
    metadata,
    Column("run_item_id", Integer, primary_key=True),
    Column("ordinal", Integer, primary_key=True),  # -1: the item as a whole
    Column("model", Text, nullable=False),
    Column("vector", LargeBinary, nullable=False),
)
