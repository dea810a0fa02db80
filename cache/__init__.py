"""Transfer values on disk: the recipe, the file format, reading with distrust, writing without risk."""
