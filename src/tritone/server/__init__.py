"""`tritone serve`: starts Triton with the project's models and stops it cleanly; `watching` looks after it meanwhile.

It knows no model, and nothing that runs inside Triton but what their processes say of themselves (`tritone.pulse`).
"""
