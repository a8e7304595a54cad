"""Search an index of `build_image_index.py` by words or by a picture; best match first.

python scripts/search_images.py holiday.index "a dog on the beach"
python scripts/search_images.py holiday.index --picture dog.jpg
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tritone_client import Client, Error, ImageIndex


def main(
    index: Annotated[Path, typer.Argument(help="folder of the index")],
    query: Annotated[str | None, typer.Argument(help="what to look for, in words")] = None,
    picture: Annotated[Path | None, typer.Option(help="a picture to find similar ones of")] = None,
    count: Annotated[int, typer.Option(help="how many to show")] = 5,
    url: Annotated[str, typer.Option(help="host:port of the server's gRPC address")] = "localhost:8001",
) -> None:
    """Print score and path of the closest pictures."""
    if (query is None) == (picture is None):
        sys.exit("say what to look for: words, or --picture, and not both")
    try:
        with Client(url) as client:
            matches = ImageIndex.load(index).search(client, query or picture, count)
    except Error as error:
        sys.exit(f"nothing was searched: {error}")
    for match in matches:
        print(f"{match.score:6.3f}  {match.candidate}")


if __name__ == "__main__":
    typer.run(main)
