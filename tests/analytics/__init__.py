"""Tests of what analysts use beside the views."""
