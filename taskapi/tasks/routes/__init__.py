"""HTTP alone: the signature, one call, one answer."""
