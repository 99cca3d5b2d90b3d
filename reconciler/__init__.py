"""recon: a desired-state reconciler for e-mail sending on AWS."""

__version__ = "0.2.0"
