"""What is asked of the database and changes nothing. One file a resource; rows out, no wire format."""
