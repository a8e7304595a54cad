"""`python -m tritone.server serve`, as `tritone serve`."""

from tritone.server.cli import app

app()
