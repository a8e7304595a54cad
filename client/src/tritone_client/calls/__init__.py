"""What each verb asks and how its answer is read, without I/O: see `call`."""
