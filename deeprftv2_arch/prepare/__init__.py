"""From the download of a public data set to the folders and LMDBs that the option files name, one module per set."""
