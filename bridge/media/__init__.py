"""Media: fetched, kept by content, prepared for a recipient's phone, served."""
