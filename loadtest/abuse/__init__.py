"""What a server does under abuse: too much load, nonsense, hostile requests, callers who leave, killed models, a stop.

Run as `make abuse`; how to read its tables is in loadtest/README.md. It knows the server from outside only: its ports,
its models' public names, its metrics, and its processes as the operating system shows them.
"""
