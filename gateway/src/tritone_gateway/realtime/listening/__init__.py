"""What comes from a microphone: who speaks, whether he has finished, and what his words are."""
