"""What every connection to the outside shares: which URLs and addresses may be reached."""
