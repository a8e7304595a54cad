"""One file for each address, and what it alone needs beside it."""
