"""The parts of an SMTP credential: where it is stored, which keys a user has, how one is made, when it rotates."""
