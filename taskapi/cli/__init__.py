"""The command ``taskapi``."""
