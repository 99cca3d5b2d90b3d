"""The texts that mail depends on: TXT strings, SPF, DMARC and BIMI records, SMTP passwords. Pure, no network."""
