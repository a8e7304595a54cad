"""Speech: `listening` (speech to text), `reading` (text as it is read aloud), `speaking` (text to speech), and the
alignment of the two. It knows nothing of Triton or of the other modalities.
"""
