"""SMTP credential work outside of plans: rotate, verify, acknowledge, lock."""
