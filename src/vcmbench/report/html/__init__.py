"""The report's page: `page` puts it together; text, tables and drawings are made here, of `content` alone."""
