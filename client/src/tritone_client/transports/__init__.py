"""How requests travel. Only this room knows tritonclient and gRPC."""
