"""Any program as a processor, spoken to by the protocol `exec/1`."""
