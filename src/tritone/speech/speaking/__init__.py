"""Text to speech: `tts` finds the voice and joins its clauses; an engine a module (VITS, Tacotron 2, XTTS, espeak)."""
