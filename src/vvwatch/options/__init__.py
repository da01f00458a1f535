"""The building blocks of `vvwatch.toml`: tables, option types, secrets, findings and `${VAR}`."""
