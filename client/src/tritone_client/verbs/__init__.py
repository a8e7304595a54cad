"""The methods of the clients: build the call, send it."""
