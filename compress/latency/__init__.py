"""What models of given widths cost where they will be served."""
