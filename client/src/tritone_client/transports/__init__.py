"""How requests travel. Only this room knows tritonclient, gRPC and HTTP."""
