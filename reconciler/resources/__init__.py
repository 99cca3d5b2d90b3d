"""The kinds of resources, a folder each."""
