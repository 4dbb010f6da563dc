"""The catalogue of agents: agent types of the configuration, and blueprints."""
