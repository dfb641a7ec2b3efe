"""What raters see and hear, and the server where they answer."""
