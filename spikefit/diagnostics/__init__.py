"""What a fit can and cannot tell: significance of edges, and the controls behind it."""
