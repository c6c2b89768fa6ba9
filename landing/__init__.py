"""Files that land in a folder or a bucket: found, read and cut into records, for whoever takes them in."""
