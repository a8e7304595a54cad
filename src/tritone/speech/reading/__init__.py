"""Text as it is read aloud: without Markdown's marks, numbers and units as words, in clauses. Text only, no sound."""
