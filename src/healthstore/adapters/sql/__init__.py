"""SQL databases: one adapter, and for each database a dialect (data) and a driver."""
