"""Webhooks: events that are sent to the URLs that an account names."""
