"""How messages leave: adapters that post to addresses chosen by users."""
