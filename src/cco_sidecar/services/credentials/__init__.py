"""CredentialService: secrets for agents."""
