"""A preset as TOML, read into configurations and their trials."""
