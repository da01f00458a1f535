"""Any program as a processor, by the protocol `exec/1`."""
