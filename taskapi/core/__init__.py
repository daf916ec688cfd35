"""What every part uses: settings, errors, the clock, ids, keys, logs; it imports nothing else of the package."""
