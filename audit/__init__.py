"""What is wrong with the data that vectors were made of, as far as vectors tell."""
