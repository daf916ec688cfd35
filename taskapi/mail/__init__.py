"""Mails: queued in MongoDB, sent in the background."""
