"""What several tests share: commands as users type them, pictures, clusters, engines, references by hand."""
