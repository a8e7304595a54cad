"""The marks at which a speaker may pause: answers are cut there (`language`), and so is what is spoken (`speech`)."""

# ASCII marks count only before a space, so "3.5" stays whole.
WIDE_STOPS = "，。！？；：、…\n"
STOPS = ",.!?;:"
