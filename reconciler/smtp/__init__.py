"""SMTP credential work that rides on no plan: rotating, verifying, acknowledging, locking."""
