"""Speech to text: a recording is cut where it is quiet, Whisper hears the pieces, and their text is joined."""
