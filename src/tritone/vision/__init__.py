"""Pictures that are looked at: CLIP, and the drawn world of coloured shapes that the tiny networks learn."""
