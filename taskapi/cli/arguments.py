"""Types of arguments."""

import argparse


def utf8(given: str) -> str:
    """Text for MongoDB, which has no bytes that are not UTF-8."""
    try:
        given.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("not UTF-8") from None
    return given
