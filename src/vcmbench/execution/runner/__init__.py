"""Runners: the only code that starts processes. `docker` and `local`: same commands, same records."""
