"""What writes pages of these docs from recorded facts; not part of the wheel."""
