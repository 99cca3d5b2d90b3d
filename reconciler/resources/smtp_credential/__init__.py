"""SMTP credentials: the stores of the passwords, the keys of a user, and when a key rotates."""
