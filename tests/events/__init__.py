"""The tests of events."""
