"""The choice of the next token: what may come, what is likely, what is drawn."""
