"""What the DNS kind is made of: zones as read, records as the state derives them, markers, and edits of values."""
