"""What is read: corpora, tables, GLUE, XNLI, rendered data that the authors published."""
