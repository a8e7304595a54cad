"""`python -m tritone_gateway` is `tritone gateway`."""

from tritone_gateway.cli import app

app(prog_name="tritone gateway")
