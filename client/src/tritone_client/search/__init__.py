"""Pictures that can be found by words or by a picture."""
