"""Deployment files: what can be checked of them without a container engine."""
