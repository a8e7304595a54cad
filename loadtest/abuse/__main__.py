"""`python -m abuse`, with this folder's parent on PYTHONPATH."""

import typer

from abuse.run import main

if __name__ == "__main__":  # the generator of load is a process that imports this again
    typer.run(main)
