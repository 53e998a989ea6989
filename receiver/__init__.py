"""A stand-alone webhook receiver: verifies (Standard Webhooks 1.0), de-duplicates, stores, shows. Port 5555."""
