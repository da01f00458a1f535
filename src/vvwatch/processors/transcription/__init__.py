"""Transcripts made from sound: by an endpoint, or by a speech model on this machine."""
