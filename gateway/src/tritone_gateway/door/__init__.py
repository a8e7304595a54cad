"""Who comes in: keys and limits, sizes, and connections that nobody holds on to for nothing."""
