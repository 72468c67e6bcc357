"""Records and lines of text from a file or a pipe, whoever wrote them."""
