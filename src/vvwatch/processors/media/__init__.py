"""Reading untrusted media in confined processes."""
