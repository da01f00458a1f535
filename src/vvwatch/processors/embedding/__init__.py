"""Vectors of texts, by a sentence model of the user's."""
