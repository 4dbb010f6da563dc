"""Identity: tokens, policy (read from the descriptors), limits."""
