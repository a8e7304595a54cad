"""Start the server and OpenAI's API in front of it, and keep both running until Ctrl-C."""

import subprocess
import sys
from typing import Annotated

import typer

from tritone.server import background


def main(
    host: Annotated[str, typer.Option(help="Address of the API.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the API.")] = 8080,
    keys: Annotated[str, typer.Option(help="File of hashes: only its keys may ask.")] = "",
) -> None:
    """Start the server and OpenAI's API in front of it, and keep both running until Ctrl-C."""
    print("1. starting Triton Inference Server with all models", flush=True)
    try:
        with background.serve(report=lambda line: print(f"   {line}", flush=True)) as server:
            print("2. starting the gateway", flush=True)
            command = [sys.executable, "-m", "tritone_gateway", f"--host={host}", f"--port={port}"]
            command += [f"--server={server.grpc}", *([f"--keys={keys}"] if keys else [])]
            with subprocess.Popen(command) as gateway:
                sys.exit(_wait(gateway))
    except background.DidNotStart as error:
        sys.exit(f"the server did not start: {error}")


def _wait(gateway: subprocess.Popen[bytes]) -> int:
    """The gateway's exit code; Ctrl-C reaches it by itself, and is waited for."""
    while True:
        try:
            return gateway.wait()
        except KeyboardInterrupt:
            print("   stopping ...", flush=True)


if __name__ == "__main__":
    typer.run(main)
