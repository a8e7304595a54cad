"""`python -m tritone_client.cli`, as `tritone`."""

from tritone_client.cli import app

app(prog_name="tritone")
