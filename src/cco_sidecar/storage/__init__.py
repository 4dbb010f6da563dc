"""Where bytes live: small Protocols in `base`, and what keeps them."""
