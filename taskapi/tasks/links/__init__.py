"""Previews of the pages that tasks link to."""
