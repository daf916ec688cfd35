"""Mails: queued in MongoDB, sent beside the requests."""
