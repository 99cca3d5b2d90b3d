"""The engine of the kinds: what all of them share. Each kind itself is a folder of ``reconciler/resources``."""
