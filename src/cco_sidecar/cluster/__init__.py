"""Several sidecars on one database and one NATS: who is there, and which of them leads."""
