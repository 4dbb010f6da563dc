"""Authentication, authorisation and rate limits. The policy is read from the proto descriptors."""
