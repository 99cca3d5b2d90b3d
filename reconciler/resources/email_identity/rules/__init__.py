"""Rules about identities: what may send as whom, DKIM, and MAIL FROM."""
