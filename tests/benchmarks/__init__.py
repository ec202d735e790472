"""Speed and memory beside other libraries and bare products, run by hand and kept in results.json."""
