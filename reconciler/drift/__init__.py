"""What drift says beside its differences: who made them and when, what kind each is, what is new, and who is notified.

All of it is diagnostics; none of it changes what differs, or the exit code.
"""
