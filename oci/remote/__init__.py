"""The wire: how we speak to other registries."""
