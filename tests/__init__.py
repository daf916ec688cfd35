"""The suite mirrors ``taskapi/``: hostile first, on a real MongoDB, over HTTP."""
