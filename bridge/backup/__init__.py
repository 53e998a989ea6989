"""`bridge backup` and `bridge restore`: the database, WhatsApp's sessions in it, and files, in one encrypted file."""
