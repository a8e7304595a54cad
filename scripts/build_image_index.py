"""Make a folder of pictures searchable: embed every picture on a running server and save the index.

python scripts/build_image_index.py holiday holiday.index
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tritone_client import Client, Error, ImageIndex


def main(
    pictures: Annotated[Path, typer.Argument(help="folder of picture files, and folders of them")],
    index: Annotated[Path, typer.Argument(help="folder to save the index in")],
    url: Annotated[str, typer.Option(help="host:port of the server's gRPC address")] = "localhost:8001",
) -> None:
    """Build and save an index."""
    try:
        with Client(url) as client:
            built = ImageIndex.build(client, pictures)
            built.save(index)
    except Error as error:
        sys.exit(f"no index was built: {error}")
    for name, reason in built.skipped.items():
        print(f"skipped {name}: {reason}", file=sys.stderr)
    print(f"{index}: {len(built)} pictures, {len(built.skipped)} files skipped")


if __name__ == "__main__":
    typer.run(main)
