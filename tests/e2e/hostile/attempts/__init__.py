"""The attempts of the hostile agent. Each module registers its own in `core.attempt`."""
