"""The second factor of signing in: codes that change with the time, and recovery codes for when the device is lost."""
