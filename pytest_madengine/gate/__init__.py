"""The performance gate: is this run, measured again, worse than its history by more than its noise?

Pure, and of the standard library only ``math``: a session without a gate imports nothing of it, and one
with a gate pays for no statistics package.
"""
