"""Words and times as a person reads them."""
