"""What the site's build adds to MkDocs."""
