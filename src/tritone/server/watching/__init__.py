"""What `tritone serve` does while Triton runs: finds models that are dead, ill or hung, replaces each alone, says
whether the server is ready, and waits for the requests in flight when it is to stop.
"""
