"""Rules about DNS records: DMARC, SPF, BIMI, and records that affect each other."""
