"""`cco runner join`: runs agents on another machine for the sidecars that it connects to."""
