"""What can be asked of the verbs. Imports nothing heavy, so that pages and waiting workers stay light."""
