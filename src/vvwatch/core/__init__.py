"""Pure decisions: values in, values out. No await, clock, I/O or logging."""
