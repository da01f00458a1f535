"""The v2 workflow API: what may be asked over HTTP, and how it is answered."""
