"""Where a head looks: maps of a picture's places by what they add to a class."""
