"""How `tritone serve` looks for its server while that still loads."""

import socket
import threading
import time

from tritone.server.control import Control


def test_a_server_that_does_not_listen_yet_is_asked_again_several_times_a_second():
    """gRPC's own pause grows to 20 s and more, and would be added to every start."""
    attempts = []
    with socket.create_server(("127.0.0.1", 0)) as closing:

        def hang_up():
            while True:
                try:
                    connection, _ = closing.accept()
                except OSError:
                    return
                attempts.append(time.monotonic())
                connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        control = Control(f"127.0.0.1:{closing.getsockname()[1]}", "key")
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            assert not control.is_ready()
            time.sleep(0.05)
        control.close()
        closing.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert len(attempts) >= 6  # by default three or four
