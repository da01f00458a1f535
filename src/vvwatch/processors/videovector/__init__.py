"""A hosted VideoVector or another vvwatch as a processor, by the official SDK."""
