"""`make loadtest`: a server, 20 seconds of users, and the exit code of Locust's thresholds."""

import subprocess
import sys

import typer

from tritone.server.background import serve


def main(users: int = 3, run_time: str = "20s") -> None:
    """Run loadtest/locustfile.py against a server of its own."""
    print("starting the server", flush=True)
    with serve() as address:
        locust = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", "--host", address.grpc]
        done = subprocess.run([*locust, f"--users={users}", f"--spawn-rate={users}", f"--run-time={run_time}"])
    print(f"make loadtest: {'thresholds kept' if done.returncode == 0 else 'FAILED, see above'}")
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    typer.run(main)
