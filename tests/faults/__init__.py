"""Tools to break recon on purpose: snapshots of the sandbox, a ledger of what is in it, and things that go wrong."""
