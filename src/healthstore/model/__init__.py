"""Floor 0: values, definitions, filters and operations. Pure: no I/O, no driver, no asyncio."""
